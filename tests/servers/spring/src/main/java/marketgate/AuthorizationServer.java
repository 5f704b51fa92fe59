package marketgate;

import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.core.annotation.Order;
import org.springframework.core.env.Environment;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.crypto.password.NoOpPasswordEncoder;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.server.authorization.client.InMemoryRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.config.annotation.web.configurers.OAuth2AuthorizationServerConfigurer;
import org.springframework.security.oauth2.server.authorization.settings.AuthorizationServerSettings;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;
import org.springframework.security.provisioning.InMemoryUserDetailsManager;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.authentication.LoginUrlAuthenticationEntryPoint;

/** Spring Authorization Server with opaque access tokens and refresh tokens that are replaced at every use. */
@SpringBootApplication
public class AuthorizationServer {
    public static void main(String[] arguments) {
        SpringApplication.run(AuthorizationServer.class, arguments);
    }

    @Bean
    @Order(1)
    SecurityFilterChain oauth(HttpSecurity http) throws Exception {
        var server = OAuth2AuthorizationServerConfigurer.authorizationServer();
        return http
            .securityMatcher(server.getEndpointsMatcher())
            .with(server, it -> it.oidc(Customizer.withDefaults()))
            .authorizeHttpRequests(requests -> requests.anyRequest().authenticated())
            .exceptionHandling(it -> it.authenticationEntryPoint(new LoginUrlAuthenticationEntryPoint("/login")))
            .build();
    }

    @Bean
    @Order(2)
    SecurityFilterChain pages(HttpSecurity http) throws Exception {
        return http
            .authorizeHttpRequests(requests -> requests
                .requestMatchers("/administration/**").permitAll()
                .anyRequest().authenticated())
            .csrf(it -> it.ignoringRequestMatchers("/administration/**"))
            .formLogin(Customizer.withDefaults())
            .build();
    }

    @Bean
    UserDetailsService sellers(@Value("${sellers}") List<String> names) {
        var users = names.stream()
            .map(name -> User.withUsername(name).password("pass word of " + name).roles("SELLER").build())
            .toList();
        return new InMemoryUserDetailsManager(users);
    }

    @Bean
    RegisteredClientRepository clients(Environment environment) {
        var consenting = Stream.of("shop", "rotated", "idle").map(name -> consenting(name, environment));
        var reader = named("api", environment)
            .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
            .build();
        return new InMemoryRegisteredClientRepository(Stream.concat(consenting, Stream.of(reader)).toList());
    }

    private static RegisteredClient consenting(String name, Environment environment) {
        var tokens = TokenSettings.builder()
            .accessTokenFormat(OAuth2TokenFormat.REFERENCE)
            .accessTokenTimeToLive(Duration.ofSeconds(environment.getRequiredProperty("access.life", Long.class)))
            .refreshTokenTimeToLive(Duration.ofSeconds(environment.getRequiredProperty(name + ".life", Long.class)))
            .reuseRefreshTokens(false)
            .build();
        return named(name, environment)
            .authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
            .authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
            .redirectUri(environment.getRequiredProperty("redirect"))
            .scope("openid")
            .scope("items")
            .clientSettings(ClientSettings.builder().requireAuthorizationConsent(true).requireProofKey(true).build())
            .tokenSettings(tokens)
            .build();
    }

    private static RegisteredClient.Builder named(String name, Environment environment) {
        return RegisteredClient.withId(UUID.randomUUID().toString())
            .clientId(environment.getRequiredProperty(name + ".id"))
            .clientSecret(environment.getRequiredProperty(name + ".secret"))
            .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC);
    }

    /** Hashing is not what is tested, and every introspection would do it. */
    @Bean
    @SuppressWarnings("deprecation")
    PasswordEncoder passwords() {
        return NoOpPasswordEncoder.getInstance();
    }

    @Bean
    AuthorizationServerSettings settings(@Value("${issuer}") String issuer) {
        return AuthorizationServerSettings.builder().issuer(issuer).build();
    }

    @Bean
    Authorizations authorizations() {
        return new Authorizations();
    }
}
