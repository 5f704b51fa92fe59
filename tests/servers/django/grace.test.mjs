// django-oauth-toolkit where a refresh token may be shown again for two minutes.

import { REPETITIONS, plan } from "../driver/plan.mjs";
import { django } from "./server.mjs";

plan("django-oauth-toolkit, grace 120 s", django({ grace: 120, protection: false }), REPETITIONS);
