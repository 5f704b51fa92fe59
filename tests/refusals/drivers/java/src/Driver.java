// java Driver CLIENT < cases > outcomes; a line of tab-separated fields in (method, URL, size, chunked, headers as name=value;…), a
// line of JSON out.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;

public final class Driver {
    record Request(String method, String url, Map<String, String> headers, byte[] body, boolean chunked) {}

    record Answer(int status, String body) {}

    interface Client {
        Answer send(Request request) throws Exception;
    }

    static final int SECONDS = 60;
    private static final Pattern CODE = Pattern.compile("\"code\":\"([a-z_]+)\"");

    public static void main(String[] arguments) throws Exception {
        var client = named(arguments[0]);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(outcome(client, request(line.split("\t", -1))));
        }
        // The threads of some clients do not end by themselves.
        System.exit(0);
    }

    private static Client named(String name) throws Exception {
        return switch (name) {
            case "java.net.http" -> new JavaNet();
            case "okhttp" -> new Ok();
            case "httpclient5" -> new Apache();
            case "httpclient5-async" -> new ApacheAsync();
            case "webclient" -> new Spring();
            case "vertx" -> new VertxWeb();
            default -> throw new IllegalArgumentException(name);
        };
    }

    private static Request request(String[] fields) {
        var headers = new LinkedHashMap<String, String>();
        for (var header : fields[4].split(";")) {
            if (!header.isEmpty()) {
                var parts = header.split("=", 2);
                headers.put(parts[0], parts[1]);
            }
        }
        var size = Integer.parseInt(fields[2]);
        var body = size == 0 ? null : new byte[size];
        if (body != null) {
            Arrays.fill(body, (byte) 'x');
        }
        return new Request(fields[0], fields[1], headers, body, fields[3].equals("true"));
    }

    private static String outcome(Client client, Request request) {
        try {
            var answer = client.send(request);
            var code = CODE.matcher(answer.body() == null ? "" : answer.body());
            return "{\"status\":" + answer.status() + ",\"code\":\"" + (code.find() ? code.group(1) : "") + "\"}";
        } catch (Exception error) {
            var text = error + (error.getCause() == null ? "" : " " + error.getCause());
            return "{\"error\":\"" + text.replaceAll("[\"\\\\\\p{Cntrl}]", "'") + "\"}";
        }
    }
}
