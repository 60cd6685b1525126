//! Who is asking. The only place of this binary that mints a scope.

use insula_context::{ScopeIssuer, UserScope};

use crate::{config::Settings, exit::Stop};

/// The caller of the command line: whoever may read and write the data folder acts for the configured user.
///
/// # Errors
/// When the configured names are none.
pub(crate) fn caller(settings: &Settings) -> Result<UserScope, Stop> {
    issue(&settings.tenant, &settings.user).map_err(|error| {
        Stop::configuration(error.to_string()).advise("`insula config` shows where the name came from")
    })
}

/// One of the invented users of `insula demo`, in storage that the demo has made for itself.
///
/// # Errors
/// When the name is none.
pub(crate) fn invented(user: &str) -> Result<UserScope, Stop> {
    Ok(issue("demo", user)?)
}

/// Somebody whom the caller names: whoever may write to the database acts for everybody in it, and a server is told no more
/// than the name.
///
/// # Errors
/// When nobody can be called that.
pub(crate) fn named(tenant: &str, user: &str) -> Result<UserScope, Stop> {
    Ok(issue(tenant, user)?)
}

#[expect(clippy::disallowed_methods, reason = "the operating system has authenticated whoever runs this binary")]
fn issue(tenant: &str, user: &str) -> Result<UserScope, insula_context::Error> {
    ScopeIssuer::new().issue(tenant, user)
}
