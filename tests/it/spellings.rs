//! The spellings in which a secret could have slipped into a text.

use std::fmt::Write as _;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

/// How a secret may look in what it slipped into.
fn spellings(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    });
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let list = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let json = serde_json::to_string(secret).unwrap();
    let mut all = vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        percent.to_lowercase(),
        percent,
        form.replace('+', "%20"),
        form,
        list,
        json[1..json.len() - 1].to_owned(),
        secret.escape_default().to_string(),
        secret.as_bytes().escape_ascii().to_string(),
    ];
    // Base64 of anything that holds the secret: it begins at one of three places within a group.
    for shift in 0..3 {
        let shifted = [&b"xx"[..shift], secret.as_bytes()].concat();
        for encoded in [BASE64_STANDARD_NO_PAD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)] {
            all.push(encoded[[0, 2, 3][shift]..encoded.len() - 2].to_owned());
        }
    }
    all
}

/// Where one of these secrets stands in a text.
pub(crate) fn finds(text: &str, secrets: &[impl AsRef<str>]) -> Vec<String> {
    let within = |spelling: String| {
        let at = text.find(&spelling)?;
        let begin = text.floor_char_boundary(at.saturating_sub(200));
        Some(format!("{spelling}: …{}", &text[begin..at + spelling.len()]))
    };
    secrets.iter().flat_map(|secret| spellings(secret.as_ref())).filter_map(within).collect()
}
