// Vert.x's Web Client.

import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.file.AsyncFile;
import io.vertx.core.file.OpenOptions;
import io.vertx.core.http.HttpMethod;
import io.vertx.ext.web.client.HttpResponse;
import io.vertx.ext.web.client.WebClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

final class VertxWeb implements Driver.Client {
    private final Vertx vertx = Vertx.vertx();
    private final WebClient client = WebClient.create(vertx);

    @Override
    public Driver.Answer send(Driver.Request asked) throws Exception {
        var request = client.requestAbs(HttpMethod.valueOf(asked.method()), asked.url());
        asked.headers().forEach(request::putHeader);
        if (asked.body() == null) {
            return answer(request.send());
        }
        if (!asked.chunked()) {
            return answer(request.sendBuffer(Buffer.buffer(asked.body())));
        }
        // A file is the stream that it brings along.
        var path = Files.createTempFile("refusals", null);
        try {
            Files.write(path, asked.body());
            return answer(open(path).compose(request::sendStream));
        } finally {
            Files.delete(path);
        }
    }

    private Future<AsyncFile> open(Path path) {
        return vertx.fileSystem().open(path.toString(), new OpenOptions().setWrite(false).setCreate(false));
    }

    private static Driver.Answer answer(Future<HttpResponse<Buffer>> coming) throws Exception {
        var answer = coming.toCompletionStage().toCompletableFuture().get(Driver.SECONDS, TimeUnit.SECONDS);
        return new Driver.Answer(answer.statusCode(), answer.bodyAsString());
    }
}
