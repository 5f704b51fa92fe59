//! What stands below the help of each command: how it is used, by example. A test reads every example as the program would.

/// Below the list of commands.
pub(super) const MAIN: &str = "\
Begin with:
  marketgate demo                              no credentials needed
  marketgate init --provider walmart-marketplace
  marketgate check
  marketgate run

Environment:
  MARKETGATE_CONFIG      the configuration file, where --config names none
  MARKETGATE_ADMIN_KEY   the key to the admin door, where it has keys
  SSL_CERT_FILE          certificate authorities to trust in place of the system's
  NO_COLOR               no colours

Exit codes: 0 done, 1 failed, 2 called wrongly, 3 configuration, 4 an account needs a login, 5 unreachable, 6 store, 130 interrupted";

pub(super) const RUN: &str = "\
Examples:
  marketgate run
  marketgate run --config /etc/marketgate/proxy.toml

SIGTERM and `marketgate stop` end it in order: what was begun is finished.";

pub(super) const STOP: &str = "\
Examples:
  marketgate stop
  marketgate stop --timeout 0s                 do not wait for its end
  marketgate stop --server http://127.0.0.1:8081 --key-file admin.key";

pub(super) const DEMO: &str = "\
Examples:
  marketgate demo
  curl http://127.0.0.1:8080/walmart/v3/items  while it runs, in another terminal";

pub(super) const SIM: &str = "\
Examples:
  marketgate sim
  marketgate sim --listen 127.0.0.1:9000";

pub(super) const CHECK: &str = "\
Examples:
  marketgate check
  marketgate check --online                    ask for tokens as well, and the APIs whether they take them
  marketgate check -o json";

pub(super) const INIT: &str = "\
Examples:
  marketgate init                              asks
  marketgate init --provider walmart-marketplace:sandbox
  marketgate init --provider depop --grant authorization_code --name vintage
  marketgate init --provider generic --stdout";

pub(super) const LOGIN: &str = "\
Examples:
  marketgate login depop@vintage
  marketgate login depop@vintage --no-browser  on a machine without a browser";

pub(super) const LOGOUT: &str = "\
Example:
  marketgate logout depop@vintage";

pub(super) const ACCOUNTS: &str = "\
Examples:
  marketgate accounts
  marketgate accounts depop --state login_required
  marketgate accounts show depop@vintage
  marketgate accounts refresh depop@vintage";

pub(super) const IMPORT: &str = "\
Examples:
  marketgate import depop@vintage < token.txt
  marketgate import depop --file sellers.jsonl --dry-run";

pub(super) const EXPORT: &str = "\
Example:
  marketgate export depop@vintage --to-file vintage.json";

pub(super) const TOKEN: &str = "\
Example:
  curl -H \"Authorization: Bearer $(marketgate token depop)\" https://partnerapi.depop.com/api/v1/shop/";

pub(super) const STATUS: &str = "\
Examples:
  marketgate status
  marketgate status --watch";

pub(super) const EXPLAIN: &str = "\
Examples:
  marketgate explain GET /walmart/v3/items
  marketgate explain POST /v3/feeds -H 'Marketgate-App: walmart'";

pub(super) const CALLER: &str = "\
Example:
  marketgate caller sync-job > sync-job.key";

pub(super) const WAIT: &str = "\
Examples:
  marketgate wait
  marketgate wait walmart --timeout 30s";

pub(super) const HEALTH: &str = "\
Example:
  marketgate health";

pub(super) const STORE: &str = "\
Examples:
  marketgate store backup /backup/marketgate.db
  marketgate store restore /backup/marketgate.db
  marketgate store rekey";

pub(super) const VERSION: &str = "\
Examples:
  marketgate version
  marketgate version -o json";

pub(super) const MAN: &str = "\
Example:
  marketgate man > /usr/local/share/man/man1/marketgate.1";

pub(super) const COMPLETIONS: &str = "\
Example:
  marketgate completions bash > /etc/bash_completion.d/marketgate";
