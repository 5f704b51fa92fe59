//! Which servers there are. The rule: what is special about one stands here or in its configuration, and nowhere else.

use super::Recipe;
use crate::application::Interface;

/// Every server that is compared with.
pub(crate) static RECIPES: [Recipe; 6] = [
    NGINX,
    Recipe { name: "nginx-http2", is_secured: true, ..NGINX },
    Recipe {
        name: "apache",
        base: "",
        program: "apache2",
        file: ("apache.conf", include_str!("apache.conf")),
        arguments: &["-D", "FOREGROUND", "-f", "{folder}/apache.conf"],
        interface: Some(Interface::FastCgi),
        modules: Some("/usr/lib/apache2/modules"),
        is_secured: false,
        has_files: true,
        conditions: ALL_CONDITIONS,
        own_pages: &["/files/nothing", "/files/folder/nothing/", "/old/x", "/echo/%zz", "/echo/%00"],
        methods: &["PROPFIND", "QUERY", "PURGE", "X!#$%&'*+.^_`|~"],
        has_extras: false,
        credential: ("X-Api-Key", ""),
    },
    Recipe {
        name: "lighttpd",
        base: "",
        program: "lighttpd",
        file: ("lighttpd.conf", include_str!("lighttpd.conf")),
        arguments: &["-D", "-f", "{folder}/lighttpd.conf"],
        interface: Some(Interface::Scgi),
        modules: None,
        is_secured: false,
        has_files: true,
        conditions: ALL_CONDITIONS,
        own_pages: &["/files/nothing", "/files/folder/nothing/", "/old/x", "/echo/%zz", "/echo/%00"],
        methods: &["PROPFIND", "REPORT", "PURGE"],
        has_extras: false,
        credential: ("X-Api-Key", ""),
    },
    Recipe {
        name: "node",
        base: "/base",
        program: "node",
        file: ("echo.js", include_str!("echo.js")),
        arguments: &["{folder}/echo.js", "{port}"],
        interface: None,
        modules: None,
        is_secured: false,
        has_files: false,
        conditions: &[],
        own_pages: &["", "?x=1", "/"],
        methods: &["PROPFIND", "M-SEARCH", "PURGE", "REPORT", "LINK"],
        has_extras: true,
        credential: ("Authorization", "Bearer "),
    },
    Recipe {
        name: "gunicorn",
        base: "/base",
        program: "gunicorn",
        file: ("echo.py", include_str!("echo.py")),
        arguments: &[
            "--bind=127.0.0.1:{port}",
            "--chdir={folder}",
            "--worker-tmp-dir={folder}",
            "--worker-class=gthread",
            "--threads=4",
            "--keep-alive=120",
            // Else some fields from this machine would change its mind about the request.
            "--forwarded-allow-ips=192.0.2.1",
            "--limit-request-line=8190",
            "--limit-request-fields=200",
            "--limit-request-field_size=65536",
            "echo:application",
        ],
        interface: None,
        modules: None,
        is_secured: false,
        has_files: false,
        conditions: &[],
        own_pages: &["", "?x=1", "/"],
        methods: &["PROPFIND", "PURGE", "X-THING", "A.B_C$1"],
        has_extras: false,
        credential: ("Authorization", "Bearer "),
    },
];

const NGINX: Recipe = Recipe {
    name: "nginx",
    base: "",
    program: "nginx",
    file: ("nginx.conf", include_str!("nginx.conf")),
    arguments: &["-p", "{folder}", "-e", "{folder}/error.log", "-c", "{folder}/nginx.conf"],
    interface: Some(Interface::Scgi),
    modules: None,
    is_secured: false,
    has_files: true,
    conditions: ALL_BUT_412,
    own_pages: &[
        "/files/nothing",
        "/files/folder/nothing/",
        "/variables",
        "/old/x",
        "/echo/%zz",
        "/echo/%00",
    ],
    methods: &["PROPFIND", "QUERY", "M-SEARCH", "REPORT"],
    has_extras: false,
    credential: ("X-Api-Key", ""),
};

const ALL_CONDITIONS: &[&str] =
    &["If-None-Match", "If-Modified-Since", "If-Range", "If-Match", "If-Unmodified-Since"];

/// nginx ends its connection after a 412 without having said so, and a request just behind it fails as documented
/// ("Repetitions").
const ALL_BUT_412: &[&str] = &["If-None-Match", "If-Modified-Since", "If-Range"];
