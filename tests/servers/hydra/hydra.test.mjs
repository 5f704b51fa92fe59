// Ory Hydra: a refresh token that is shown twice ends the chain.

import { plan } from "../driver/plan.mjs";
import { hydra } from "./server.mjs";

plan("Ory Hydra", hydra());
