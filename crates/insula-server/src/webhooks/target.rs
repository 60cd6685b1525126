//! Where and how somebody is to be told, as a submission says it and as the store keeps it.

use std::fmt;

use insula_infra::RawJson;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::WebhookRules;

/// The longest URL, in bytes.
const URL_BYTES: usize = 2_048;
/// The shortest and the longest secret, in characters.
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 16..=256;

/// How many fields that do not exist are named, and how many characters of each.
const SHOWN: usize = 8;
const KEPT: usize = 40;

/// A URL, and the secret that calls to it are signed with. What is printed of it shows neither the secret nor more of the
/// URL than its host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    url: String,
    secret: String,
}

impl Target {
    /// Reads the `webhook` of a submission.
    ///
    /// # Errors
    /// Everything that speaks against it, in words for whoever sent it.
    pub fn check(value: &Value, rules: &WebhookRules) -> Result<Self, Vec<String>> {
        let Some(fields) = value.as_object() else {
            return Err(vec!["webhook: must be an object with url and secret".to_owned()]);
        };
        let known = ["url", "secret"];
        let mut violations: Vec<_> = fields
            .keys()
            .filter(|field| !known.contains(&field.as_str()))
            .take(SHOWN)
            .map(|field| field.chars().take(KEPT).collect::<String>())
            .map(|field| format!("webhook: there is no field {field:?}, only url and secret"))
            .collect();
        let (url, secret) = (checked_url(fields.get("url"), rules), checked_secret(fields.get("secret")));
        match (url, secret) {
            (Ok(url), Ok(secret)) if violations.is_empty() => return Ok(Self { url, secret }),
            (url, secret) => {
                violations.extend(url.err().map(|problem| format!("webhook.url: {problem}")));
                violations.extend(secret.err().map(|problem| format!("webhook.secret: {problem}")));
            }
        }
        Err(violations)
    }

    /// As the store keeps it, with the secret.
    pub fn stored(&self) -> RawJson {
        // Two texts always have a JSON form.
        let text = serde_json::to_string(self).and_then(RawValue::from_string);
        text.unwrap_or_else(|_| RawValue::NULL.to_owned()).into()
    }

    /// What was stored; `None` when it is not what [`Target::stored`] gives.
    pub fn read(stored: &RawJson) -> Option<Self> {
        serde_json::from_str(stored.get()).ok()
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Whom a call goes to, as far as it matters for how many go there at once.
    pub(super) fn host(&self) -> String {
        Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("host", &self.host()).finish_non_exhaustive()
    }
}

fn checked_url(value: Option<&Value>, rules: &WebhookRules) -> Result<String, String> {
    let text = value.and_then(Value::as_str).ok_or("must be text")?;
    if text.len() > URL_BYTES {
        return Err(format!("must not be longer than {URL_BYTES} bytes"));
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    rules.objection(&url).map_or_else(|| Ok(url.into()), |objection| Err(objection.to_owned()))
}

fn checked_secret(value: Option<&Value>) -> Result<String, String> {
    let text = value.and_then(Value::as_str).ok_or("must be text")?;
    if !SECRET_CHARS.contains(&text.chars().count()) {
        return Err(format!("must have {} to {} characters", SECRET_CHARS.start(), SECRET_CHARS.end()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::webhooks::PlainHttp;

    const SECRET: &str = "c4nary-c4nary-c4nary";

    fn check(url: &str) -> Result<Target, Vec<String>> {
        Target::check(&json!({"url": url, "secret": SECRET}), &WebhookRules::default())
    }

    #[test]
    fn what_is_public_and_encrypted_is_taken_and_kept() {
        let target = check("https://example.org:8443/done?of=ada").unwrap();
        assert_eq!(target.url(), "https://example.org:8443/done?of=ada");
        assert_eq!(Target::read(&target.stored()), Some(target));
    }

    #[test]
    fn whatever_names_an_address_inside_is_refused_however_it_is_written() {
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a00:1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00:ec2::254]/",
            "https://10.0.0.1:443/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[2002:7f00:1::]/",
            "https://0/",
        ] {
            assert_eq!(
                check(url).unwrap_err(),
                ["webhook.url: must not lead to an address that is not public"],
                "{url}"
            );
        }
    }

    #[test]
    fn a_url_that_is_not_encrypted_or_names_a_user_or_is_none_is_refused() {
        assert_eq!(check("http://example.org/").unwrap_err(), ["webhook.url: must be https"]);
        assert_eq!(check("ftp://example.org/").unwrap_err(), ["webhook.url: must be an https URL"]);
        assert_eq!(check("https://ada@example.org/").unwrap_err(), ["webhook.url: must not name a user"]);
        assert_eq!(check("https://:pass@example.org/").unwrap_err(), ["webhook.url: must not name a user"]);
        assert!(check("/done").unwrap_err()[0].starts_with("webhook.url: is no URL"));
        assert!(check(&format!("https://example.org/{}", "x".repeat(2_048))).unwrap_err()[0].contains("2048"));
    }

    #[test]
    fn configuration_opens_what_it_names_and_nothing_else() {
        let rules =
            WebhookRules { plain_http: PlainHttp::Allowed, allow_networks: vec!["10.1.0.0/16".parse().unwrap()] };
        let check = |url: &str| Target::check(&json!({"url": url, "secret": SECRET}), &rules);
        assert!(check("http://10.1.2.3/").is_ok());
        assert!(check("http://[::ffff:10.1.2.3]/").is_ok());
        assert!(check("http://10.2.2.3/").is_err());
    }

    #[test]
    fn all_violations_are_told_at_once_and_none_shows_a_secret() {
        let value = json!({"url": 5, "secret": "short", "header": SECRET});
        let violations = Target::check(&value, &WebhookRules::default()).unwrap_err();
        assert_eq!(
            violations,
            [
                "webhook: there is no field \"header\", only url and secret",
                "webhook.url: must be text",
                "webhook.secret: must have 16 to 256 characters",
            ]
        );
        assert_eq!(
            Target::check(&json!("https://example.org"), &WebhookRules::default()).unwrap_err(),
            ["webhook: must be an object with url and secret"]
        );
    }

    #[test]
    fn what_is_printed_shows_no_secret() {
        let shown = format!("{:?}", check("https://example.org/?token=c4nary").unwrap());
        assert!(shown.contains("example.org") && !shown.contains("c4nary"), "{shown}");
    }
}
