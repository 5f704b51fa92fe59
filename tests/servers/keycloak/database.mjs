// Makes the database of a Keycloak that has only just been installed, for tests to copy.

import { copyFileSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DATABASE, startKeycloak } from "./server.mjs";

const directory = mkdtempSync(join(tmpdir(), "marketgate-keycloak-"));
const { running } = await startKeycloak({ directory, origin: "https://localhost" });
await running.stop("SIGTERM");
// It appears whole, though the directory may be on another file system.
const wanted = process.env.KEYCLOAK_DATABASE;
copyFileSync(join(directory, `${DATABASE}.mv.db`), `${wanted}.part`);
renameSync(`${wanted}.part`, wanted);
rmSync(directory, { recursive: true });
