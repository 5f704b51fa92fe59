// Apache HttpClient 5, classic.

import java.io.ByteArrayInputStream;
import org.apache.hc.client5.http.config.RequestConfig;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.HttpEntity;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.io.entity.InputStreamEntity;
import org.apache.hc.core5.http.io.support.ClassicRequestBuilder;
import org.apache.hc.core5.util.Timeout;

final class Apache implements Driver.Client {
    // Otherwise it would wait for ever.
    private static final RequestConfig TIMEOUT = RequestConfig.custom().setResponseTimeout(Timeout.ofSeconds(Driver.SECONDS)).build();
    private final CloseableHttpClient client = HttpClients.custom().setDefaultRequestConfig(TIMEOUT).build();

    @Override
    public Driver.Answer send(Driver.Request asked) throws Exception {
        var request = ClassicRequestBuilder.create(asked.method()).setUri(asked.url()).setEntity(body(asked));
        asked.headers().forEach(request::setHeader);
        return client.execute(request.build(), answer -> new Driver.Answer(answer.getCode(), EntityUtils.toString(answer.getEntity())));
    }

    private static HttpEntity body(Driver.Request asked) {
        if (asked.body() == null) {
            return null;
        }
        return asked.chunked()
            ? new InputStreamEntity(new ByteArrayInputStream(asked.body()), ContentType.APPLICATION_OCTET_STREAM)
            : new ByteArrayEntity(asked.body(), ContentType.APPLICATION_OCTET_STREAM);
    }
}
