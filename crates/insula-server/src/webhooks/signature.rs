//! How the receiver knows that a call is ours, and when it was made.

use std::fmt::Write as _;

use aws_lc_rs::hmac;

/// `v1=` and HMAC-SHA-256 under the secret over `TIMESTAMP.BODY`, in hexadecimal digits.
pub(super) fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    signed.update(timestamp.as_bytes());
    signed.update(b".");
    signed.update(body);
    signed.sign().as_ref().iter().fold("v1=".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '1700000000.{"type":"run.ended"}' | openssl dgst -sha256 -hmac 'at least 16 characters'
    #[test]
    fn is_what_other_implementations_compute() {
        assert_eq!(
            sign("at least 16 characters", "1700000000", br#"{"type":"run.ended"}"#),
            "v1=0bb32123efe03e62068e4ba7c89a9a4b9c03d0da8553f3c949219fe68422d90b"
        );
    }
}
