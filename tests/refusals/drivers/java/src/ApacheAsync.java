// Apache HttpClient 5, asynchronous.

import java.util.concurrent.TimeUnit;
import org.apache.hc.client5.http.async.methods.SimpleResponseConsumer;
import org.apache.hc.client5.http.impl.async.CloseableHttpAsyncClient;
import org.apache.hc.client5.http.impl.async.HttpAsyncClients;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.nio.entity.BasicAsyncEntityProducer;
import org.apache.hc.core5.http.nio.support.AsyncRequestBuilder;

final class ApacheAsync implements Driver.Client {
    private final CloseableHttpAsyncClient client = HttpAsyncClients.createDefault();

    ApacheAsync() {
        client.start();
    }

    @Override
    public Driver.Answer send(Driver.Request asked) throws Exception {
        var request = AsyncRequestBuilder.create(asked.method()).setUri(asked.url());
        asked.headers().forEach(request::setHeader);
        if (asked.body() != null) {
            request.setEntity(new BasicAsyncEntityProducer(asked.body(), ContentType.APPLICATION_OCTET_STREAM, asked.chunked()));
        }
        var answer = client.execute(request.build(), SimpleResponseConsumer.create(), null).get(Driver.SECONDS, TimeUnit.SECONDS);
        return new Driver.Answer(answer.getCode(), answer.getBodyText());
    }
}
