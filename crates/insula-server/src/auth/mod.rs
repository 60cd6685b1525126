//! Who is calling. The only place of the server where a [`UserScope`](insula_context::UserScope) is minted: everything
//! else is handed a [`Principal`], or does not come this far. There is no anonymous mode.
//!
//! A caller shows an API key, of which the store keeps a hash, or a JWT of an issuer that the server was told to trust.
//! [`Authenticator`] turns either into a [`Principal`], and tells whoever keeps a connection open when the credential
//! behind it is not worth anything any more ([`Validity`]). Why somebody was refused stays in the log: to the outside
//! every refusal looks the same.
//!
//! In reading order: [`roles`] and [`principal`] (what comes of it), [`bearer`] (reading what was shown, pure),
//! [`secret`], [`keys`] (API keys, and making them) with `keyring` and `care` (what is remembered of them, and the look at
//! the store once a second), [`validity`], [`jwt`], [`ticket`], [`rate`], and [`authenticator`], which is all of it
//! together.

pub mod authenticator;
pub mod bearer;
mod care;
mod error;
mod fading;
pub mod jwt;
mod keyring;
pub mod keys;
pub mod principal;
pub mod rate;
pub mod roles;
pub mod secret;
#[cfg(test)]
mod tests;
pub mod ticket;
pub mod validity;

pub use authenticator::{Authenticator, AuthenticatorBuilder};
pub use error::{Error, Refused};
pub use jwt::{JwtKey, JwtRules, PublicAlgorithm, TenantOf};
pub use keys::{MintedKey, NewKey, granted};
pub use principal::{Credential, Principal};
pub use rate::{Limited, Rate, RateRules, Rates};
pub use roles::{Access, Role, Roles};
pub use secret::Secret;
pub use ticket::Ticket;
pub use validity::Validity;
