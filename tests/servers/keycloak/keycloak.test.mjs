// Keycloak as it stands behind Wallapop Connect: a refresh token that is shown twice ends the whole session.

import { plan } from "../driver/plan.mjs";
import { keycloak } from "./server.mjs";

plan("Keycloak", keycloak({ reuse: 0 }));
