// The realm that is imported: Wallapop's name, "revoke refresh token" on, tokens of a few seconds.

import { ACCESS_LIFE, API_CLIENT, CLIENTS, IDLE_LIFE, SELLERS, password } from "../driver/world.mjs";

export const REALM = "wallapop-connect";

/** `reuse`: how often a refresh token may be shown again. */
export const realm = ({ redirect, reuse }) => ({
  realm: REALM,
  enabled: true,
  sslRequired: "none",
  revokeRefreshToken: true,
  refreshTokenMaxReuse: reuse,
  accessTokenLifespan: ACCESS_LIFE,
  // Two minutes: less than some accounts are left alone between two tests.
  ssoSessionIdleTimeout: 120,
  // Hashing is not what is tested.
  passwordPolicy: "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)",
  clients: [
    ...Object.entries(CLIENTS).map(([name, client]) => ({
      ...registered(client),
      standardFlowEnabled: true,
      consentRequired: true,
      redirectUris: [redirect],
      attributes: name === "idle" ? { "client.session.idle.timeout": String(IDLE_LIFE) } : {},
    })),
    { ...registered(API_CLIENT), standardFlowEnabled: false, serviceAccountsEnabled: true },
  ],
  users: SELLERS.map((seller) => ({
    username: seller,
    enabled: true,
    // A profile with gaps would have to be completed at the login.
    ...{ firstName: "Seller", lastName: seller, email: `${seller}@example.com`, emailVerified: true },
    credentials: [{ type: "password", value: password(seller), temporary: false }],
  })),
});

const registered = ({ id, secret }) => ({
  clientId: id,
  secret,
  enabled: true,
  protocol: "openid-connect",
  publicClient: false,
  directAccessGrantsEnabled: false,
});
