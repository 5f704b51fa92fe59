//! Configurations that are refused, each with all that is said of it.

use super::{APP, errors, read};

/// Line, column and a part of the message or hint.
type Expected<'a> = (usize, usize, &'a str);

/// What differs between what is said of a text and what should be.
fn difference(text: &str, expected: &[Expected<'_>]) -> Option<String> {
    let found = errors(text);
    let fits = |((line, column, message), wanted): (&(usize, usize, String), &Expected<'_>)| {
        (*line, *column) == (wanted.0, wanted.1) && message.contains(wanted.2)
    };
    let same = found.len() == expected.len() && found.iter().zip(expected).all(fits);
    (!same).then(|| format!("{text}\nfound {found:#?}\nexpected {expected:#?}\n"))
}

fn check(text: &str, expected: &[Expected<'_>]) {
    if let Some(difference) = difference(text, expected) {
        panic!("{difference}");
    }
}

/// Each text has exactly one mistake; all that is not so is reported.
fn check_all<'c>(cases: impl IntoIterator<Item = (String, Expected<'c>)>) {
    let differences = cases.into_iter().filter_map(|(text, expected)| difference(&text, &[expected]));
    let differences: Vec<_> = differences.collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Each text, with an app that is right behind it, has exactly one mistake.
fn check_each(cases: &[(&str, Expected<'_>)]) {
    check_all(cases.iter().map(|(text, expected)| (format!("{text}\n{APP}"), *expected)));
}

/// Each line, in an otherwise right Walmart app, has exactly one mistake; the line is the sixth.
fn check_each_in_app(cases: &[(&str, Expected<'_>)]) {
    let app = "[apps.a]\nprovider = \"walmart-marketplace\"\nenvironment = \"production\"\n\
               client_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    check_all(cases.iter().map(|(line, expected)| (format!("{app}{line}\n"), *expected)));
}

#[test]
fn doors_say_what_is_wrong_with_them() {
    check_each(&[
        ("[proxy]\nlisten = \":8080\"", (2, 10, "write \"127.0.0.1:8080\" for this machine alone")),
        ("[proxy]\nlisten = \"*:8080\"", (2, 10, "does not say on which address")),
        ("[proxy]\nlisten = \"127.0.0.1\"", (2, 10, "`127.0.0.1` has no port")),
        ("[proxy]\nlisten = \"::1\"", (2, 10, "`::1` has no port")),
        ("[proxy]\nlisten = \"gate\"", (2, 10, "`gate` has no port")),
        ("[proxy]\nlisten = \"gate:8080\"", (2, 10, "write an IP address and a port")),
        ("[proxy]\nlisten = \"127.0.0.1:99999\"", (2, 10, "a port is a number from 0 to 65535")),
        ("[proxy]\nlisten = 8080", (2, 10, "`listen` must be a string, not an integer | write it in quotes")),
        ("[proxy]\nlisten = []", (2, 10, "`listen` is an empty list")),
        ("[proxy]\nlisten = [\"127.0.0.1:1\", true]", (2, 26, "must be a string, not a boolean")),
        ("[proxy]\nlisten = \"unix:/run/gate.sock\"", (2, 10, "have no effect in this version")),
        (
            "[proxy]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            (2, 26, "`127.0.0.1:1` collides with another listener on `127.0.0.1:1`"),
        ),
        ("[admin]\nlisten = \"127.0.0.1:8080\"", (2, 10, "collides with another listener")),
        (
            "[proxy]\nlisten = \"0.0.0.0:8080\"",
            (2, 10, "marketgate refuses to start | `marketgate caller NAME`"),
        ),
        ("[callers]\n[proxy]\nlisten = \"0.0.0.0:8080\"", (3, 10, "no caller needs a key")),
        ("[log]\nlevel = { env = \"SECRET\" }", (2, 9, "`…` is no log level")),
        ("[proxy]\nlisten = \"[::]:8080\"", (2, 10, "no caller needs a key")),
        ("[proxy]\nlisten = { env = \"UNSET\" }", (2, 18, "environment variable UNSET is not set")),
        ("[proxy]\nlisten = { file = \"x\" }", (2, 10, "`listen` cannot come from a file: only secrets can")),
        ("[proxy]\nlisten = { env = \"ADDRESS\", x = 1 }", (2, 10, "must be a string or { env = \"NAME\" }")),
        ("[proxy]\nlisten = { env = 1 }", (2, 18, "must be the name of an environment variable")),
        ("[proxy]\nlisten = { env = \"TWO_LINES\" }", (2, 10, "holds a line break")),
        ("[proxy]\nallowed_hosts = [\"a\", \"http://b\"]", (2, 23, "`http://b` is no host name")),
        ("[proxy]\nallowed_hosts = \"gate:8080\"", (2, 17, "without scheme, port and path")),
        ("[proxy]\nallowed_hosts = \"*.internal\"", (2, 17, "there are no wildcards")),
        (
            "[proxy]\nallowed_hosts = [\"localhost\", \"gate.internal\", \"b\"]",
            (2, 31, "`gate.internal` in `allowed_hosts` lets web pages in, as no caller needs a key"),
        ),
        ("[proxy]\nallowed_hosts = \"192.168.1.5\"", (2, 17, "makes a key for [callers.NAME]")),
        ("[proxy]\nallowed_hosts = \"[::ffff:127.0.0.1]\"", (2, 17, "lets web pages in")),
        ("[proxy]\nallowed_hosts = \"app.localhost\"", (2, 17, "lets web pages in")),
        ("[proxy]\nallowed_hosts = \"0.0.0.0\"", (2, 17, "lets web pages in")),
        ("[callers]\n[proxy]\nallowed_hosts = \"gate\"", (3, 17, "lets web pages in")),
        ("[proxy]\nallowed_origins = \"app.example.com\"", (2, 19, "is no web origin")),
        ("[proxy]\nallowed_origins = \"https://app.example.com/x\"", (2, 19, "is no web origin")),
        (
            "[proxy]\naccess_log = \"yes\"",
            (2, 14, "`access_log` must be true or false, not a string | write it without quotes"),
        ),
        ("[proxy]\ntls = { cert = \"c\", key = \"k\" }", (2, 1, "`proxy.tls` has no effect in this version")),
        (
            "[proxy]\nallowed_host = [\"a\"]",
            (2, 1, "unknown key `allowed_host`, did you mean `allowed_hosts`?"),
        ),
        ("proxy = 1", (1, 9, "`proxy` must be a table, not an integer")),
        (
            "[admin]\nlisten = \"0.0.0.0:8081\"",
            (
                2,
                10,
                "asks nobody for a key: marketgate refuses to start | `marketgate caller NAME` makes a key for \
                 [admin.keys.NAME]; or listen on loopback: \"127.0.0.1:8081\"",
            ),
        ),
    ]);
}

#[test]
fn listeners_of_their_own_name_what_they_stand_for() {
    let listener = "[[proxy.listener]]\n";
    check_each(&[
        ("[[proxy.listener]]\napp = \"good\"", (1, 1, "`listen` is missing")),
        ("[[proxy.listener]]\nlisten = \"127.0.0.1:9001\"", (1, 1, "`app` is missing")),
        (
            "[[proxy.listener]]\nlisten = \"127.0.0.1:9001\"\napp = \"god\"",
            (3, 7, "there is no app `god`, did you mean `good`?"),
        ),
        (
            "[[proxy.listener]]\nlisten = \"127.0.0.1:9001\"\napp = \"good\"\naccount = \"x\"",
            (4, 11, "there is no account of app `good`: `x` | there is: default"),
        ),
        (
            "[[proxy.listener]]\nlisten = \"127.0.0.1:8080\"\napp = \"good\"",
            (2, 10, "collides with another listener on `127.0.0.1:8080`"),
        ),
        (
            "[[proxy.listener]]\nlisten = \"0.0.0.0:9001\"\napp = \"good\"",
            (2, 10, "is open to other machines"),
        ),
        (
            "[proxy]\nlistener = { app = \"good\" }",
            (2, 12, "`listener` must be a list of tables, not a table"),
        ),
        (
            "[[proxy.listener]]\nlisten = \"127.0.0.1:1\"\napp = \"good\"\nport = 1",
            (4, 1, "unknown key `port` | known here: listen, app, account"),
        ),
    ]);
    let refused =
        format!("{listener}listen = \"127.0.0.1:9001\"\napp = \"a\"\n[apps.a]\nprovider = \"nobody\"\n");
    check(&refused, &[(5, 12, "`nobody` is no provider")]);
}

#[test]
fn limits_and_the_way_out_say_what_is_wrong_with_them() {
    check_each(&[
        ("[upstream]\nca_file = \"absent.pem\"", (2, 11, "/nowhere/absent.pem cannot be read")),
        ("[upstream]\nca_file = \"/dev/null\"", (2, 11, "/dev/null is no regular file")),
        ("[upstream]\nproxy_url = \"https://egress:3128\"", (2, 13, "must begin with http://")),
        ("[upstream]\nproxy_url = \"egress\"", (2, 13, "`proxy_url` is no URL | write \"http://host:port\"")),
        ("[upstream]\nproxy_url = \"http://egress:3128/x\"", (2, 13, "no path, no query")),
        (
            "[upstream]\nproxy_url = \"http://a%3Ab:c@egress:3128\"",
            (2, 13, "holds a character that cannot be sent"),
        ),
        ("[upstream]\ntimeouts = { conect = \"5s\" }", (2, 14, "did you mean `connect`?")),
        (
            "[upstream]\ntimeouts = { connect = \"5\" }",
            (2, 24, "`5` is no duration | write a whole number and ms, s or m"),
        ),
        (
            "[upstream]\ntimeouts = { head = \"0s\" }",
            (2, 21, "more than 0 and at most 1h | write a whole number and"),
        ),
        (
            "[upstream.timeouts]\nstall = 30",
            (2, 9, "a string, not an integer | write it in quotes; a time or a size with"),
        ),
        ("[limits]\nheaders = \"100\"", (2, 11, "a whole number, not a string | write it without quotes")),
        ("[upstream.limits]\nconnections = 0", (2, 15, "`connections` must be between 1 and 100000")),
        ("[upstream.limits]\nreplay_body = \"1GiB\"", (2, 15, "must be between 0 and 67108864 bytes")),
        ("[limits]\nhead = \"64KB\"", (2, 8, "`64KB` is no size | write a number and B, KiB, MiB or GiB")),
        ("[limits]\nhead = 512", (2, 8, "`head` must be between 8192 and 1048576")),
        ("[limits]\nheaders = -1", (2, 11, "`headers` must be between 1 and 1000")),
        ("[limits]\nbody = \"nothing\"", (2, 8, "`nothing` is no size")),
        ("[limits]\nconnections = 1.5", (2, 15, "`connections` must be a whole number, not a float")),
        ("[metrics]\nper_account = 1", (2, 15, "must be true or false")),
        ("[log]\nlevel = \"loud\"", (2, 9, "`loud` is no log level")),
        ("[log]\nformat = \"jsn\"", (2, 10, "`jsn` is no format, did you mean `json`?")),
    ]);
}

#[test]
fn callers_need_one_key_each() {
    let digest = "0".repeat(64);
    check_each(&[
        ("[callers.job]", (1, 1, "caller `job`: needs `key` or `sha256` | `marketgate caller NAME`")),
        ("[callers.job]\nkey = { env = \"EMPTY\" }", (2, 7, "`key` is empty")),
        ("[callers.job]\nsha256 = \"abc\"", (2, 10, "`sha256` must be 64 hexadecimal digits")),
        (
            &format!("[callers.job]\nkey = {{ env = \"SECRET\" }}\nsha256 = \"{digest}\""),
            (3, 10, "say the same thing: keep one of them"),
        ),
        (
            &format!("[callers.a]\nsha256 = \"{digest}\"\n[callers.b]\nsha256 = \"{digest}\""),
            (4, 10, "caller `b`: has the same key as caller `a`"),
        ),
        (&format!("[callers.\"a b\"]\nsha256 = \"{digest}\""), (1, 10, "a name is 1 to 128 characters")),
        (
            &format!("[callers.a]\nsha256 = \"{digest}\"\nallow = []"),
            (3, 1, "`allow` has no effect in this version"),
        ),
        (
            &format!("[callers.a]\nsha256 = \"{digest}\"\nread_only = true"),
            (3, 1, "`read_only` has no effect"),
        ),
        ("callers.job = \"x\"", (1, 9, "`callers.job` must be a table, not a string")),
    ]);
}

#[test]
fn sections_of_later_versions_and_of_none_are_named() {
    check_each(&[
        ("[connect]\nlisten = \"x\"", (1, 2, "`[connect]` has no effect in this version")),
        ("[notify]\nurl = \"x\"", (1, 2, "`[notify]` has no effect in this version")),
        ("[upstreams]", (1, 2, "unknown section `upstreams`, did you mean `upstream`?")),
        ("[database]", (1, 2, "unknown section `database` | known here: proxy, admin")),
    ]);
}

#[test]
fn an_app_says_what_it_is() {
    let credentials = "client_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    check("", &[(0, 0, "there is no app: nothing to stand in front of | `marketgate init`")]);
    check("[apps]\n", &[(0, 0, "there is no app")]);
    check("apps = 1\n", &[(1, 8, "`apps` must be a table")]);
    check(
        "[apps.a]\n",
        &[(1, 1, "app `a`: `provider` is missing | write provider = one of \"walmart-marketplace\"")],
    );
    check(
        "[apps.a]\nprovider = \"walmart\"\nmarket = \"us\"\n",
        &[(2, 12, "app `a`: `walmart` is no provider")],
    );
    check(
        &format!("[apps.a]\nprovider = \"walmart-golocal\"\n{credentials}"),
        &[(
            1,
            1,
            "`environment` is missing: Walmart GoLocal has more than one | write environment = one of \"production\", \"sandbox\", \"simulator\"",
        )],
    );
    check(
        &format!("[apps.a]\nprovider = \"walmart-golocal\"\nenvironment = \"sandbx\"\n{credentials}"),
        &[(3, 15, "`sandbx` is no environment, did you mean `sandbox`?")],
    );
    check(
        &format!("[apps.\"a b\"]\nprovider = \"walmart-golocal\"\nenvironment = \"sandbox\"\n{credentials}"),
        &[(1, 7, "app `a b`: a name is 1 to 128 characters")],
    );
    check(
        &format!("[apps.my.shop]\nprovider = \"walmart-golocal\"\nenvironment = \"sandbox\"\n{credentials}"),
        &[
            (1, 7, "app `my`: `provider` is missing"),
            (1, 10, "unknown key `shop` | a name with a dot in it stands in quotes"),
        ],
    );
    check(
        &format!("[apps.a]\nprovider = \"generic\"\n{credentials}"),
        &[(1, 1, "`api` is missing"), (1, 1, "`token_url` is missing")],
    );
}

#[test]
fn keys_of_an_app_are_checked_where_they_stand() {
    check_each_in_app(&[
        (
            "client_sercet = \"x\"",
            (6, 1, "app `a`: unknown key `client_sercet`, did you mean `client_secret`?"),
        ),
        ("markt = \"us\"", (6, 1, "unknown key `markt`, did you mean `market`?")),
        ("market = \"ü\"", (6, 10, "`market` goes into a header and holds a character")),
        ("market = [\"us\"]", (6, 10, "`market` must be a string, not an array")),
        ("market = \"a\\nb\"", (6, 10, "the value of `market` holds a line break")),
        ("simulator = \"http://127.0.0.1:1\"", (6, 13, "no effect unless environment = \"simulator\"")),
        ("grant = \"password\"", (6, 9, "`password` is no grant")),
        (
            "api_key = { env = \"SECRET\" }",
            (6, 11, "`api_key` has no effect with grant `client_credentials`"),
        ),
        ("api = \"https://sandbox.walmartapis.com\"", (6, 7, "own host (environment `sandbox`)")),
        ("api = \"https://mock.test\"", (6, 7, "move `token_url` to a host of your own")),
        (
            "api = \"http://mock.test\"\ntoken_url = \"https://mock.test/t\"",
            (6, 7, "http:// is for loopback only"),
        ),
        ("client_auth = \"basik\"", (6, 15, "`basik` is no client_auth, did you mean `basic`?")),
        ("scopes = [\"read write\"]", (6, 11, "`read write` is no scope")),
        ("token_header = \"a b\"", (6, 16, "`a b` is no header name")),
        ("token_header = \"Host\"", (6, 16, "frames the message")),
        ("token_prefix = \"ü\"", (6, 16, "visible ASCII")),
        ("headers = \"x\"", (6, 11, "`headers` must be a table, not a string")),
        ("headers = { \"x y\" = \"z\" }", (6, 21, "`x y` is no header name")),
        (
            "headers = { x = \"{clientid}\" }",
            (6, 17, "unknown placeholder `{clientid}`, did you mean `{client_id}`?"),
        ),
        ("headers = { x = \"{region}\" }", (6, 17, "settings = { region = \"…\" }")),
        ("headers = { x = \"a{b\" }", (6, 17, "the braces of `…` do not pair up")),
        ("headers = { x = \"1\", X = \"2\" }", (6, 13, "stands twice under `headers`")),
        ("headers = { x = \"a\\r\\nb: c\" }", (6, 17, "holds a line break")),
        ("token_request_headers = { x = \"{y}\" }", (6, 31, "unknown placeholder `{y}`")),
        ("token_request_headers = { content-type = \"x\" }", (6, 42, "`content-type` would be ignored")),
        ("token_request_headers = { Authorization = \"x\" }", (6, 43, "write client_auth = \"body\"")),
        ("token_request_params = { x = \"{y}\" }", (6, 30, "unknown placeholder `{y}`")),
        ("settings = { region = \"ü\" }\nheaders = { x = \"{region}\" }", (6, 23, "goes into a header")),
        ("settings = { Region = \"eu\" }", (6, 14, "`Region` is no name for a setting")),
        ("settings = { account = \"eu\" }", (6, 14, "it has a meaning of its own")),
        ("market = \"us\"\nsettings = { market = \"ca\" }", (7, 14, "is set twice")),
        ("token_budget = \"174\"", (6, 16, "`174` is no budget")),
        ("refresh_at = 1.5", (6, 14, "1.5 is no fraction of a lifetime")),
        ("refresh_at = \"early\"", (6, 14, "`refresh_at` must be a number, not a string")),
        (
            "replay = \"sometimes\"",
            (6, 10, "`sometimes` is no replay | write one of \"all\", \"idempotent\", \"off\""),
        ),
        (
            "redirect_uri = \"http://localhost/callback\"",
            (
                6,
                16,
                "`redirect_uri` has no effect with grant `client_credentials` | remove it, or write grant = \"authorization_code\"",
            ),
        ),
        ("authorize_url = \"https://a.test\"", (6, 17, "`authorize_url` has no effect with grant")),
        ("pkce = true", (6, 8, "`pkce` has no effect with grant")),
        ("pkce = \"yes\"", (6, 8, "`pkce` must be true or false, not a string")),
        ("reuse_window = \"3s\"", (6, 16, "`reuse_window` has no effect with grant")),
        ("credentials = \"per-seller\"", (6, 15, "`per-seller` is no credentials")),
    ]);
}

#[test]
fn credentials_are_missed_where_they_belong() {
    let head = "[apps.a]\nprovider = \"walmart-marketplace\"\nenvironment = \"production\"\n";
    check(
        head,
        &[(
            1,
            1,
            "app `a`: `client_id` and `client_secret` are missing | write client_secret = { env = \"NAME\" }",
        )],
    );
    check(&format!("{head}client_id = \"id\"\n"), &[(1, 1, "`client_secret` is missing")]);
    check(
        &format!("{head}client_id = \"\"\nclient_secret = {{ env = \"SECRET\" }}\n"),
        &[(4, 13, "`client_id` is empty")],
    );
    check(
        &format!("{head}client_id = \"id\"\nclient_secret = {{ env = \"WALMART_CLIENT_SECRET\" }}\n"),
        &[(5, 25, "app `a`: environment variable WALMART_CLIENT_SECRET is not set")],
    );
    check(
        &format!("{head}client_id = \"id\"\nclient_secret = {{ env = \"TWO_LINES\" }}\n"),
        &[(5, 17, "the value of `client_secret` holds a line break")],
    );
    check(
        &format!("{head}client_id = \"id\"\nclient_secret = []\n"),
        &[(5, 17, "`client_secret` is an empty list")],
    );
    check(
        &format!("{head}client_id = \"id\"\nclient_secret = 5\n"),
        &[(5, 17, "must be { env = \"NAME\" }, { file = \"path\" } or a string, not an integer")],
    );
    check(
        &format!("{head}client_id = \"id\"\nclient_secret = {{ path = \"x\" }}\n"),
        &[(5, 17, "must come from { env = \"NAME\" } or { file = \"path\" }")],
    );
    check(
        &format!("{head}client_id = \"id\"\nclient_secret = {{ file = \"absent\" }}\n"),
        &[(5, 26, "the secret file /nowhere/absent cannot be read")],
    );
}

#[test]
fn accounts_bring_their_own_credentials_or_use_the_apps() {
    let head = "[apps.a]\nprovider = \"walmart-marketplace\"\nenvironment = \"production\"\n";
    let per_account = format!("{head}credentials = \"per-account\"\n");
    let app = format!("{head}client_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\n");
    let own = "client_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    check(&per_account, &[]);
    check(
        &format!("{per_account}{own}[apps.a.accounts.s]\n{own}"),
        &[(5, 13, "`client_id` belongs to each account"), (6, 17, "`client_secret` belongs to each account")],
    );
    check(
        &format!("{per_account}[apps.a.accounts.s]\n"),
        &[(5, 1, "app `a`: account `s`: `client_id` and `client_secret` are missing")],
    );
    check(
        &format!("{per_account}[apps.a.accounts.s]\nclient_id = \"x\"\n"),
        &[(5, 1, "`client_secret` is missing beside its other half")],
    );
    check(
        &format!("{app}[apps.a.accounts.s]\nclient_id = \"x\"\n"),
        &[(6, 1, "account `s`: `client_secret` is missing beside its other half")],
    );
    check(
        &format!("{head}[apps.a.accounts.s]\n{own}"),
        &[(1, 1, "are missing | every account brings its own: write credentials = \"per-account\"")],
    );
    check(
        &format!("{app}[apps.a.accounts.\"s@x\"]\n"),
        &[(6, 18, "account `s@x`: a name is 1 to 128 characters")],
    );
    check(
        &format!("{app}[apps.a.accounts.s]\nprovider = \"x\"\n"),
        &[(7, 1, "account `s`: unknown key `provider` | known here: client_id")],
    );
    check(&format!("{app}[apps.a.accounts.s]\nmarket = \"ü\"\n"), &[(7, 10, "goes into a header")]);
    check(&format!("{app}accounts = 1\n"), &[(6, 12, "`accounts` must be a table")]);
    check(
        &format!("{app}[apps.a.accounts.s]\napi_key = {{ env = \"SECRET\" }}\n"),
        &[(7, 11, "account `s`: `api_key` has no effect with grant `client_credentials`")],
    );
}

/// Each line, in an otherwise right app whose sellers consent, has exactly one mistake; the line is the seventh.
#[test]
fn what_belongs_to_a_sellers_consent_is_checked_where_it_stands() {
    let app = "[apps.a]\nprovider = \"depop\"\nenvironment = \"production\"\ngrant = \"authorization_code\"\n\
               client_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    let cases: [(&str, Expected<'_>); 22] = [
        ("redirect_uri = 1", (7, 16, "app `a`: `redirect_uri` must be a string, not an integer")),
        (
            "redirect_uri = \"\"",
            (
                7,
                16,
                "must be an absolute URL that begins with http:// or https:// | write it as it is registered",
            ),
        ),
        ("redirect_uri = \"/callback\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"localhost:8082/callback\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"https:/yourapp.com\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"https:yourapp.com\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"https://\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \" https://yourapp.com\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"https://yourapp.com/a b\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = 'https:\\\\yourapp.com'", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"https://yourapp.com:port/\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"com.yourapp://callback\"", (7, 16, "must be an absolute URL")),
        ("redirect_uri = \"https://yourapp.com/#/callback\"", (7, 16, "must hold no fragment")),
        ("redirect_uri = \"https://me@yourapp.com/\"", (7, 16, "must hold no user and no password")),
        ("redirect_uri = \"https://@yourapp.com/\"", (7, 16, "must hold no user and no password")),
        ("redirect_uri = \"http://yourapp.com/\"", (7, 16, "with http:// is for this machine alone")),
        (
            "redirect_uri = \"http://localhost.yourapp.com/\"",
            (7, 16, "with http:// is for this machine alone"),
        ),
        ("redirect_uri = \"http://192.168.0.1/\"", (7, 16, "with http:// is for this machine alone")),
        (
            "credentials = \"per-account\"",
            (
                7,
                15,
                "`credentials = \"per-account\"` does not go with grant `authorization_code` | remove it: all sellers share",
            ),
        ),
        (
            "[apps.a.accounts.shop-42]",
            (
                7,
                18,
                "app `a`: account `shop-42`: sellers who consent do not stand in this file: what they consent to changes at every use | \
                 remove it; `marketgate login a@shop-42` connects the seller, or `marketgate import`",
            ),
        ),
        (
            "api_key = { env = \"SECRET\" }",
            (7, 11, "`api_key` has no effect with grant `authorization_code`"),
        ),
        ("settings = { shop = \"ü\" }\nheaders = { x = \"{shop}\" }", (7, 21, "goes into a header")),
    ];
    check_all(cases.iter().map(|(line, expected)| (format!("{app}{line}\n"), *expected)));
}

#[test]
fn a_client_that_sellers_consent_to_has_a_secret_or_says_that_it_has_none() {
    let app = "[apps.a]\nprovider = \"generic\"\ngrant = \"authorization_code\"\napi = \"https://api.test\"\n\
               token_url = \"https://auth.test/t\"\nauthorize_url = \"https://auth.test/a\"\n";
    check(
        app,
        &[(
            1,
            1,
            "app `a`: `client_id` and `client_secret` are missing | write client_secret = { env = \"NAME\" }, or \
             pkce = true for a client that has no secret",
        )],
    );
    check(&format!("{app}client_id = \"id\"\n"), &[(1, 1, "`client_secret` is missing")]);
    check(&format!("{app}client_id = \"id\"\npkce = false\n"), &[(1, 1, "`client_secret` is missing")]);
    check(&format!("{app}pkce = true\n"), &[(1, 1, "`client_id` is missing")]);
    check(
        &format!("{app}pkce = true\nclient_id = \"id\"\nclient_secret = {{ env = \"UNSET\" }}\n"),
        &[(9, 25, "environment variable UNSET is not set")],
    );
    check(
        &format!("{app}pkce = true\nclient_id = \"id\"\nheaders = {{ x = \"{{client_secret}}\" }}\n"),
        &[(9, 17, "unknown placeholder `{client_secret}`")],
    );
    check(
        "[apps.wallapop]\nprovider = \"wallapop\"\ncredentials = \"per-account\"\n",
        &[(1, 1, "are missing"), (3, 15, "does not go with grant")],
    );
}

#[test]
fn the_store_says_what_is_wrong_with_it() {
    check_each(&[
        ("store = 1", (1, 9, "`store` must be a table, not an integer")),
        ("[store]\npth = \"x\"", (2, 1, "unknown key `pth`, did you mean `path`?")),
        (
            "[store]\npath = \"\"",
            (2, 8, "`path` is a directory | write a file, such as \"/nowhere/marketgate.db\""),
        ),
        ("[store]\npath = \"data/\"", (2, 8, "`path` is a directory")),
        ("[store]\npath = \"/\"", (2, 8, "`path` is a directory")),
        ("[store]\npath = { file = \"x\" }", (2, 8, "`path` cannot come from a file: only secrets can")),
        (
            "[store]\nkey = { env = \"SECRET\" }",
            (2, 7, "`key` must hold 32 bytes in base64 | `openssl rand -base64 32` prints such a key"),
        ),
        ("[store]\nkey = \"AAAA\"", (2, 7, "`key` must hold 32 bytes in base64")),
        ("[store]\nkey = { env = \"UNSET\" }", (2, 15, "environment variable UNSET is not set")),
        ("[store]\nkey = { file = \"/\" }", (2, 7, "`key` names /, which is a directory")),
        ("[store]\nkey = { file = \"/dev/null\" }", (2, 16, "must hold the secret alone")),
        ("[store]\npath = \"a\"\nkey = { file = \"a\" }", (3, 7, "`key` names the database itself")),
        ("[store]\nold_keys = { file = \"absent\" }", (2, 21, "/nowhere/absent cannot be read")),
        ("[store]\nold_keys = [{ env = \"SECRET\" }]", (2, 13, "`old_keys` must hold 32 bytes in base64")),
        ("[store]\nold_keys = [1]", (2, 13, "`old_keys` must be { env = \"NAME\" }")),
        ("[store]\nwait_for_lock = 60", (2, 17, "`wait_for_lock` must be a string, not an integer")),
        ("[store]\nwait_for_lock = \"60\"", (2, 17, "`60` is no duration")),
        ("[store]\nwait_for_lock = \"2h\"", (2, 17, "`2h` is longer than 1h")),
    ]);
}

#[test]
fn admin_keys_say_who_holds_them_and_what_for() {
    let digest = "0".repeat(64);
    let key = format!("sha256 = \"{digest}\"\n");
    let allow = "allow = [\"accounts:read\"]\n";
    check_each(&[
        ("[admin]\nkeys = \"x\"", (2, 8, "`keys` must be a table, not a string")),
        ("[admin]\nkeys.ops = \"x\"", (2, 6, "`keys.ops` must be a table, not a string")),
        (
            &format!("[admin.keys.ops]\n{allow}"),
            (1, 1, "admin key `ops`: needs `key` or `sha256` | `marketgate caller NAME` makes a key"),
        ),
        (
            &format!("[admin.keys.ops]\n{key}"),
            (
                1,
                1,
                "admin key `ops`: needs `allow`: what its holder may do | write a list of \"accounts:read\", \
                 \"accounts:write\", \"accounts:export\", \"consents:write\", \"stop\"",
            ),
        ),
        (&format!("[admin.keys.ops]\n{key}allow = []"), (3, 9, "admin key `ops`: `allow` is an empty list")),
        (
            &format!("[admin.keys.ops]\n{key}allow = [\"accounts:read\", \"accounts:wirte\"]"),
            (
                3,
                27,
                "`accounts:wirte` is no permission, did you mean `accounts:write`? | write one of \"accounts:read\"",
            ),
        ),
        (
            &format!("[admin.keys.ops]\n{key}{allow}role = 1"),
            (4, 1, "unknown key `role` | known here: key, sha256, allow"),
        ),
        (
            &format!("[admin.keys.\"a b\"]\n{key}{allow}"),
            (1, 13, "admin key `a b`: a name is 1 to 128 characters"),
        ),
        (
            &format!("[admin.keys.a]\n{key}{allow}[admin.keys.b]\n{key}{allow}"),
            (5, 10, "admin key `b`: has the same key as admin key `a`: each needs its own"),
        ),
        (
            &format!("[callers.a]\n{key}[admin.keys.b]\n{key}{allow}"),
            (4, 10, "admin key `b`: has the same key as caller `a`"),
        ),
    ]);
}

#[test]
fn a_listener_may_stand_for_an_account_that_is_still_to_come_where_one_can() {
    let listener = |account: &str| {
        format!("[[proxy.listener]]\nlisten = \"127.0.0.1:9001\"\napp = \"a\"\naccount = \"{account}\"\n")
    };
    let app = "[apps.a]\nprovider = \"walmart-supplier\"\nenvironment = \"simulator\"\ncredentials = \"per-account\"\n";
    let own = "[apps.a.accounts.known]\nclient_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    check(&format!("{}{app}", listener("later")), &[]);
    check(&format!("{}{app}", listener("a b")), &[(4, 11, "a name is 1 to 128 characters")]);
    check(
        &format!("{}{app}{own}", listener("later")),
        &[(
            4,
            11,
            "no account of app `a`: `later` | there is: known; for accounts that are added while marketgate runs, write [store]",
        )],
    );
    check(&format!("{}{app}{own}[store]\n", listener("later")), &[]);
}

#[test]
fn a_static_key_goes_without_a_client() {
    check(
        "[apps.depop]\nprovider = \"depop\"\nenvironment = \"production\"\ngrant = \"static\"\n",
        &[(1, 1, "app `depop`: `api_key` is missing | write api_key = { env = \"NAME\" }")],
    );
    check(
        "[apps.depop]\nprovider = \"depop\"\nenvironment = \"production\"\napi_key = { env = \"SECRET\" }\nheaders = { x = \"{client_id}\" }\n",
        &[(5, 17, "unknown placeholder `{client_id}`")],
    );
    check(
        "[apps.a]\nprovider = \"generic\"\nenvironment = \"simulator\"\nsimulator = \"http://127.0.0.1:1/x\"\napi_key = { env = \"SECRET\" }\n",
        &[(4, 13, "must end with its port")],
    );
}

#[test]
fn syntax_errors_are_reported_where_they_stand_and_hide_what_they_may_have_swallowed() {
    check_each(&[
        ("[log]\nlevel = info", (2, 9, "a text must stand in quotes")),
        ("[log]\nlevel =", (2, 8, "")),
        ("[log]\nlevel = \"info", (2, 14, "invalid basic string")),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"", (3, 1, "duplicate key")),
        ("[log\nlevel = \"info\"", (1, 5, "unclosed table")),
        ("[log]\n[log]", (2, 2, "duplicate key")),
        (
            "[proxy]\nlisten = [\"127.0.0.1:1\"",
            (4, 1, "missing comma between array elements | or a `]` is missing above"),
        ),
        ("nonsense", (1, 9, "key with no value")),
        ("[log]\nlevel = \"\\q\"", (2, 11, "missing escaped value")),
    ]);
    check("[apps.a]\nprovider = walmart\nclient_id = 1\n", &[(2, 12, "a text must stand in quotes")]);
}

#[test]
fn all_mistakes_of_a_file_are_reported_in_its_order() {
    let text = "[proxy]\nlisten = \":8080\"\nacces_log = true\n\n[limits]\nhead = \"1\"\nheaders = many\n\n[apps.a]\n\
                provider = \"walmart-supplier\"\nclient_secret = { env = \"UNSET\" }\nmarkt = \"us\"\n\n[notify]\n\n\
                [apps.b]\nprovider = \"depop\"\nenvironment = \"production\"\nheaders = { x = \"{y}\" }\n";
    check(
        text,
        &[
            (2, 10, "`:8080`"),
            (3, 1, "did you mean `access_log`?"),
            (6, 8, "`1` is no size"),
            (7, 11, "a text must stand in quotes"),
            (11, 25, "environment variable UNSET is not set"),
            (12, 1, "did you mean `market`?"),
            (14, 2, "`[notify]`"),
            (19, 17, "unknown placeholder `{y}`"),
        ],
    );
}

#[test]
fn a_finding_is_rendered_with_its_line_a_caret_and_the_mend() {
    let error = read(&format!("[proxy]\nlisten = \":8080\"\n{APP}")).unwrap_err();
    assert_eq!(
        error.render(false),
        "error: `:8080` does not say on which address to listen\n \
         --> proxy.toml:2:10\n  |\n2 | listen = \":8080\"\n  |          ^^^^^^^\n  |\n  \
         = help: write \"127.0.0.1:8080\" for this machine alone, or \"0.0.0.0:8080\" for every interface\n\n\
         proxy.toml has 1 mistake"
    );
    assert!(error.render(true).contains("\u{1b}["), "colour when it is asked for");
    assert!(!error.render(false).contains('\u{1b}'), "and only then");
    assert!(error.to_string().contains("proxy.toml:2:10: `:8080`"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_finding() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    let text = |error: super::ConfigError| error.render(false);
    assert!(text(crate::config::load(&path).unwrap_err()).contains("cannot be read: No such file"));
    std::fs::write(&path, b"[proxy]\nlisten = \"\xff\"").unwrap();
    assert!(text(crate::config::load(&path).unwrap_err()).contains("it is not UTF-8 text"));
}

#[test]
fn apps_that_share_a_token_endpoint_must_agree_on_its_budget() {
    let app = |name: &str, budget: &str| {
        format!(
            "[apps.{name}]\nprovider = \"generic\"\napi = \"https://api.test\"\ntoken_url = \"https://auth.test/t\"\n\
             client_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\n{budget}"
        )
    };
    let two = |a: &str, b: &str| app("a", a) + &app("b", b);
    check(&two("token_budget = \"9/1m\"\n", "token_budget = \"9/1m\"\n"), &[]);
    let other = "token_budget = \"8/1m\"\n";
    check(&two("token_budget = \"9/1m\"\n", other), &[(14, 16, "app `a` asks the same token endpoint")]);
    let calls = "app `a` asks the same token endpoint and has another `token_calls`";
    check(&two("token_calls = 9\n", "token_calls = 8\n"), &[(14, 15, calls)]);
    check(&two("token_calls = 9\n", "token_calls = 9\n"), &[]);
}

#[test]
fn a_budget_that_one_app_names_holds_for_all_that_ask_at_the_same_endpoint() {
    let app = |name: &str, budget: &str| {
        format!(
            "[apps.{name}]\nprovider = \"generic\"\napi = \"https://api.test\"\ntoken_url = \"https://auth.test/t\"\n\
             client_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\n{budget}"
        )
    };
    let settings =
        read(&(app("a", "token_calls = 7\n") + &app("b", "token_budget = \"9/1m\"\n"))).unwrap().settings;
    let endpoints = settings.apps.values().map(|app| app.profile.token_endpoint.as_ref().unwrap());
    let said = endpoints.map(|endpoint| (endpoint.budget.unwrap().calls, endpoint.at_once.unwrap()));
    assert_eq!(said.collect::<Vec<_>>(), [(9, 7), (9, 7)]);
}

#[test]
fn each_authorization_server_needs_a_redirect_address_of_its_own() {
    let app = |name: &str, host: &str, more: &str| {
        format!(
            "[apps.{name}]\nprovider = \"generic\"\ngrant = \"authorization_code\"\napi = \"https://{host}/api\"\n\
             token_url = \"https://{host}/token\"\nauthorize_url = \"https://{host}/authorize\"\nclient_id = \"id\"\n\
             client_secret = {{ env = \"SECRET\" }}\nredirect_uri = \"https://yourapp.com/callback\"\n{more}"
        )
    };
    let two = app("one", "one.test", "") + &app("two", "two.test", "");
    check(
        &two,
        &[(18, 16, "a code of one could reach the other | register and write a redirect address for each")],
    );
    let same_server = app("one", "one.test", "") + &app("two", "one.test", "");
    let named = app("one", "one.test", "") + &app("two", "two.test", "issuer = \"https://two.test\"\n");
    for good in [same_server, named.clone()] {
        read(&good).unwrap();
    }
    let loaded = read(&named).unwrap();
    let promised =
        |name: &str| loaded.settings.apps[name].profile.authorization.as_ref().unwrap().iss_promised;
    assert!(promised("two") && !promised("one"), "the one that can must name itself");
}

#[test]
fn with_a_static_key_whatever_concerns_the_token_endpoint_is_a_mistake() {
    let app = "[apps.k]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"https://api.test\"\napi_key = { env = \"SECRET\" }\n";
    for line in [
        "client_auth = \"body\"",
        "scopes = [\"a\"]",
        "token_request_params = { a = \"b\" }",
        "token_lifetime = \"1h\"",
        "token_members = { access_token = \"a\" }",
        "refresh_at = 0.5",
    ] {
        let key = line.split_once(' ').unwrap().0;
        let found = errors(&format!("{app}{line}\n"));
        assert!(
            found.iter().any(|(line, _, said)| *line == 6
                && said.contains(&format!(
                    "`{key}` has no effect with grant `static` | remove it: a key asks no"
                ))),
            "{found:?}"
        );
    }
}

#[test]
fn entries_of_lists_that_match_everything_or_nothing_are_mistakes() {
    let app = "[apps.k]\nprovider = \"generic\"\nenvironment = \"simulator\"\ngrant = \"authorization_code\"\nredirect_uri = \"http://localhost:1/c\"\nclient_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    for (line, said) in [
        ("grant_ended = [{}]", "matches every refusal"),
        ("grant_ended = [{ contains = \"\" }]", "`contains` is empty"),
        ("grant_ended = [{ status = 9 }]", "`status` must be between 100 and 599"),
        ("grant_ended = { status = 400 }", "must be a list of tables"),
        ("expired_when = [{ contains = \"x\" }]", "without `status`"),
        ("expired_when = [{ status = 403, code = \"x\" }]", "unknown key `code`"),
        ("token_members = { acess_token = \"a\" }", "write one of `access_token`"),
        ("token_members = { access_token = \"a..b\" }", "is not a path"),
        ("token_lifetime = \"soon\"", "is not a lifetime"),
        ("refresh_token_lifetime = \"0s\"", "is not a lifetime"),
        ("authorize_params = { state = \"x\" }", "Marketgate sends `state` itself"),
    ] {
        let found = errors(&format!("{app}{line}\n"));
        assert!(found.iter().any(|(at, _, text)| *at == 8 && text.contains(said)), "{line}: {found:?}");
    }
}
