// Spring Authorization Server with opaque access tokens, of which an authorization has one: a refresh ends the one before.

import { plan } from "../driver/plan.mjs";
import { spring } from "./server.mjs";

plan("Spring Authorization Server", spring());
