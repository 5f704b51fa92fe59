package marketgate;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

import org.springframework.security.oauth2.server.authorization.InMemoryOAuth2AuthorizationService;
import org.springframework.security.oauth2.server.authorization.OAuth2Authorization;
import org.springframework.security.oauth2.server.authorization.OAuth2AuthorizationService;
import org.springframework.security.oauth2.server.authorization.OAuth2TokenType;

/** Spring's own service, which also remembers whose the authorizations are, so that an administrator can end them. */
class Authorizations implements OAuth2AuthorizationService {
    private final InMemoryOAuth2AuthorizationService kept = new InMemoryOAuth2AuthorizationService();
    private final Map<String, String> sellers = new ConcurrentHashMap<>();

    @Override
    public void save(OAuth2Authorization authorization) {
        sellers.put(authorization.getId(), authorization.getPrincipalName());
        kept.save(authorization);
    }

    @Override
    public void remove(OAuth2Authorization authorization) {
        sellers.remove(authorization.getId());
        kept.remove(authorization);
    }

    @Override
    public OAuth2Authorization findById(String id) {
        return kept.findById(id);
    }

    @Override
    public OAuth2Authorization findByToken(String token, OAuth2TokenType type) {
        return kept.findByToken(token, type);
    }

    void end(String seller) {
        sellers.entrySet().stream().filter(entry -> entry.getValue().equals(seller)).map(Map.Entry::getKey)
            .map(kept::findById).filter(authorization -> authorization != null).forEach(this::remove);
    }
}
