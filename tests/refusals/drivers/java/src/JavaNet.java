// java.net.http.

import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

final class JavaNet implements Driver.Client {
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    @Override
    public Driver.Answer send(Driver.Request asked) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(asked.url())).timeout(Duration.ofSeconds(Driver.SECONDS))
            .method(asked.method(), body(asked));
        asked.headers().forEach(request::header);
        var answer = client.send(request.build(), BodyHandlers.ofString());
        return new Driver.Answer(answer.statusCode(), answer.body());
    }

    private static BodyPublisher body(Driver.Request asked) {
        if (asked.body() == null) {
            return BodyPublishers.noBody();
        }
        return asked.chunked()
            ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(asked.body()))
            : BodyPublishers.ofByteArray(asked.body());
    }
}
