package marketgate;

import java.util.UUID;

import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** What the test does as an administrator; it listens on loopback only. */
@RestController
@RequestMapping("/administration")
class Administration {
    private final Authorizations authorizations;
    private final RegisteredClientRepository clients;

    Administration(Authorizations authorizations, RegisteredClientRepository clients) {
        this.authorizations = authorizations;
        this.clients = clients;
    }

    @PostMapping("/end")
    void end(@RequestParam String seller) {
        authorizations.end(seller);
    }

    @PostMapping("/secret")
    String secret(@RequestParam String client) {
        var secret = UUID.randomUUID().toString();
        var old = clients.findByClientId(client);
        clients.save(RegisteredClient.from(old).clientSecret(secret).build());
        return "\"" + secret + "\"";
    }
}
