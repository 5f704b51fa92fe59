// Makes the database of a Keycloak that has only just been installed, for tests to copy.

import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DATABASE, startKeycloak } from "./server.mjs";

const directory = mkdtempSync(join(tmpdir(), "marketgate-keycloak-"));
const { running } = await startKeycloak({ directory, origin: "https://localhost" });
await running.stop("SIGTERM");
renameSync(join(directory, `${DATABASE}.mv.db`), process.env.KEYCLOAK_DATABASE);
rmSync(directory, { recursive: true });
