// java Driver < cases > outcomes; a line of tab-separated fields in (method, URL, size, chunked, headers as name=value;…), a line of JSON
// out. java.net.http, which alone brings no JSON parser.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Arrays;
import java.util.regex.Pattern;

public final class Driver {
    private static final Pattern CODE = Pattern.compile("\"code\":\"([a-z_]+)\"");

    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(send(client, line.split("\t", -1)));
        }
    }

    private static String send(HttpClient client, String[] asked) {
        try {
            var request = HttpRequest.newBuilder(URI.create(asked[1])).timeout(Duration.ofMinutes(1))
                .method(asked[0], body(Integer.parseInt(asked[2]), asked[3].equals("true")));
            for (var header : asked[4].split(";")) {
                if (!header.isEmpty()) {
                    var parts = header.split("=", 2);
                    request.header(parts[0], parts[1]);
                }
            }
            var answer = client.send(request.build(), BodyHandlers.ofString());
            var code = CODE.matcher(answer.body());
            return "{\"status\":" + answer.statusCode() + ",\"code\":\"" + (code.find() ? code.group(1) : "") + "\"}";
        } catch (Exception error) {
            return "{\"error\":\"" + error.toString().replaceAll("[\"\\\\\\n]", "'") + "\"}";
        }
    }

    private static BodyPublisher body(int size, boolean chunked) {
        if (size == 0) {
            return BodyPublishers.noBody();
        }
        var bytes = new byte[size];
        Arrays.fill(bytes, (byte) 'x');
        return chunked ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes)) : BodyPublishers.ofByteArray(bytes);
    }
}
