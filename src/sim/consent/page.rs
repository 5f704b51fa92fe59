//! The page on which a seller says yes or no. The one rule: it works without scripts, styles from elsewhere or a mouse,
//! and everything that came with the request is escaped.

use super::request::Request;
use crate::sim::answer::Answer;
use crate::sim::marketplace::Marketplace;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;\
    color:#1b1b1b;background:#fff}h1{font-size:1.4rem}select,button{font:inherit;padding:.5rem 1rem;margin:.25rem .5rem .25rem 0}\
    code{overflow-wrap:anywhere}.note{border-left:.25rem solid #b58900;padding-left:1rem}";

/// Sellers that can always be picked.
const SELLERS: [&str; 5] = ["shop-1", "shop-2", "shop-3", "shop-4", "shop-5"];

pub(super) fn question(marketplace: Marketplace, request: &Request, seller: &str) -> Answer {
    let name = title(marketplace);
    let client = escaped(&request.client);
    let scope = match request.scope.as_str() {
        "" => String::new(),
        scope => format!("<p>It asks for: <code>{}</code></p>", escaped(scope)),
    };
    let others = SELLERS.iter().copied().filter(|other| *other != seller);
    let options: String = std::iter::once(seller).chain(others).map(option).collect();
    let body = format!(
        "<h1>Connect <code>{client}</code> to a shop at {name}?</h1>\
         <p class=\"note\">This is a simulation. No shop is real, and nothing leaves this machine.</p>\
         <p>The program <code>{client}</code> will be able to act for the shop chosen here.</p>{scope}\
         <form method=\"post\"><p><label for=\"seller\">Shop to connect</label><br>\
         <select id=\"seller\" name=\"seller\">{options}</select></p>\
         <p><button name=\"decision\" value=\"allow\">Allow</button>\
         <button name=\"decision\" value=\"deny\">Deny</button></p></form>\
         <p>Afterwards you are sent to <code>{}</code>.</p>",
        escaped(&request.redirect_uri)
    );
    page(200, &format!("Connect to {name} (simulated)"), &body)
}

/// What the person at the browser has to know, because the client must not be told.
pub(super) fn refused(status: u16, words: &str) -> Answer {
    let body = format!(
        "<h1>This request cannot be answered</h1><p>{}</p>\
         <p>Nobody was sent anywhere. Mend the request and start again.</p>",
        escaped(words)
    );
    page(status, "Request refused (simulated)", &body)
}

fn option(seller: &str) -> String {
    format!("<option>{}</option>", escaped(seller))
}

fn page(status: u16, title: &str, body: &str) -> Answer {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    );
    Answer::text(status, "text/html; charset=utf-8", html).headers(&[
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        // No form-action: browsers hold redirects after a form to it, and this form leads back to the client.
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ])
}

fn title(marketplace: Marketplace) -> &'static str {
    match marketplace {
        Marketplace::Wallapop => "Wallapop",
        Marketplace::Depop => "Depop",
        Marketplace::WalmartSellers => "Walmart Marketplace",
        _ => "the generic marketplace",
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_came_with_a_request_cannot_leave_its_place_in_the_page() {
        assert_eq!(escaped("<a href=\"x\" b='&'>"), "&lt;a href=&quot;x&quot; b=&#39;&amp;&#39;&gt;");
    }
}
