// Keycloak where a refresh token may be shown once again.

import { REPETITIONS, plan } from "../driver/plan.mjs";
import { keycloak } from "./server.mjs";

plan("Keycloak, reuse 1", keycloak({ reuse: 1 }), REPETITIONS);
