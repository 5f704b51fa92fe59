// OkHttp.

import java.io.IOException;
import java.util.concurrent.TimeUnit;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okio.BufferedSink;

final class Ok implements Driver.Client {
    private static final MediaType BYTES = MediaType.get("application/octet-stream");
    private final OkHttpClient client = new OkHttpClient.Builder()
        .readTimeout(Driver.SECONDS, TimeUnit.SECONDS).writeTimeout(Driver.SECONDS, TimeUnit.SECONDS).build();

    @Override
    public Driver.Answer send(Driver.Request asked) throws Exception {
        var request = new Request.Builder().url(asked.url()).method(asked.method(), body(asked));
        asked.headers().forEach(request::header);
        try (var answer = client.newCall(request.build()).execute()) {
            return new Driver.Answer(answer.code(), answer.body().string());
        }
    }

    private static RequestBody body(Driver.Request asked) {
        if (asked.body() == null) {
            return null;
        }
        if (!asked.chunked()) {
            return RequestBody.create(asked.body(), BYTES);
        }
        // Without a length it is sent in chunks.
        return new RequestBody() {
            @Override
            public MediaType contentType() {
                return BYTES;
            }

            @Override
            public void writeTo(BufferedSink sink) throws IOException {
                sink.write(asked.body());
            }
        };
    }
}
