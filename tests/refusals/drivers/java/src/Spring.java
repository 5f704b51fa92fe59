// Spring's WebClient over Reactor Netty.

import java.net.URI;
import java.time.Duration;
import java.util.Arrays;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.core.io.buffer.DefaultDataBufferFactory;
import org.springframework.http.HttpMethod;
import org.springframework.web.reactive.function.BodyInserters;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Flux;

final class Spring implements Driver.Client {
    private static final int PIECE = 64 * 1024;
    private final WebClient client = WebClient.create();

    @Override
    public Driver.Answer send(Driver.Request asked) throws Exception {
        var request = client.method(HttpMethod.valueOf(asked.method())).uri(URI.create(asked.url()));
        asked.headers().forEach(request::header);
        if (asked.body() != null && asked.chunked()) {
            request.body(BodyInserters.fromDataBuffers(pieces(asked.body())));
        } else if (asked.body() != null) {
            request.bodyValue(asked.body());
        }
        return request.exchangeToMono(answer ->
            answer.bodyToMono(String.class).defaultIfEmpty("").map(text -> new Driver.Answer(answer.statusCode().value(), text))
        ).block(Duration.ofSeconds(Driver.SECONDS));
    }

    private static Flux<DataBuffer> pieces(byte[] body) {
        var count = (body.length + PIECE - 1) / PIECE;
        return Flux.range(0, count).map(index -> {
            var piece = Arrays.copyOfRange(body, index * PIECE, Math.min(body.length, (index + 1) * PIECE));
            return DefaultDataBufferFactory.sharedInstance.wrap(piece);
        });
    }
}
