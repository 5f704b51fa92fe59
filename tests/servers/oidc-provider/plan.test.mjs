// oidc-provider: a refresh token that is shown twice ends the grant, and the access tokens it brought.

import { plan } from "../driver/plan.mjs";
import { oidcProvider } from "./server.mjs";

plan("oidc-provider", oidcProvider());
