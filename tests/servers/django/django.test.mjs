// django-oauth-toolkit as RFC 9700 wants it: a refresh token that is shown twice ends its family.

import { plan } from "../driver/plan.mjs";
import { django } from "./server.mjs";

plan("django-oauth-toolkit", django({ grace: 0, protection: true }));
