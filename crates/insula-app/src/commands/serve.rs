//! `insula serve`.

use std::{net::SocketAddr, sync::Arc};

use insula_engine::ExecutionEngineFactory;
use insula_server::{
    Server, Tls,
    auth::{Access, Authenticator, NewKey, Role, Roles},
};
use serde_json::json;
use tokio::net::TcpListener;

use super::Desk;
use crate::{
    cli::ServeArgs,
    config::Serve,
    exit::{Kind, Stop},
    identity,
    interrupt::Interrupt,
    wiring,
};

/// Serves until it is asked to stop, and then ends in order. Asked a second time, it does not wait.
pub(super) async fn serve(desk: &Desk<'_>, args: ServeArgs) -> Result<(), Stop> {
    let serve = &desk.settings.serve;
    let tls = serve.tls.as_ref().map(|files| Tls::read(&files.certificate, &files.key)).transpose().map_err(refused)?;
    let (engine, plans) = wiring::with_plans(&desk.settings).await?;
    let auth = authenticator(serve, &engine)?;
    let listener = listen(args.listen.unwrap_or(serve.listen))?;
    let server = Server::builder(engine.clone(), auth.clone())
        .settings(serve.server.clone())
        .rates(serve.rates)
        .plans(plans)
        .build();
    let mut interrupt = Interrupt::listen()?;
    let key = first_key(desk, &auth).await?;
    greet(desk, &listener, tls.is_some(), key.as_deref())?;
    let left = server.serve(listener, tls, async {
        interrupt.asked().await;
        tokio::spawn(second(interrupt));
    });
    report(desk, left.await)
}

/// Being asked a second time ends the process.
async fn second(mut interrupt: Interrupt) {
    interrupt.asked().await;
}

fn refused(error: insula_server::Error) -> Stop {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let stop = Stop::configuration(error.to_string());
    match cause {
        Some(cause) => stop.because(cause),
        None => stop,
    }
}

fn authenticator(serve: &Serve, engine: &ExecutionEngineFactory) -> Result<Authenticator, Stop> {
    let builder = Authenticator::builder(Arc::clone(&engine.backend().keys)).clock(Arc::clone(engine.clock()));
    let builder = match serve.jwt.clone() {
        Some(jwt) => builder.jwt(jwt.rules()?),
        None => builder,
    };
    builder.build().map_err(|error| refused(error.into()))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Stop> {
    insula_server::listen(address).map_err(|error| {
        Stop::new(Kind::Failed, format!("{address} cannot be listened on"))
            .because(error)
            .advise("another process may be there: give another port with --listen 127.0.0.1:PORT, or 0 for any")
    })
}

/// A key for the configured user, where nobody has one yet: there is no way in without. Of nodes that start together, one
/// alone is given it and shows it.
async fn first_key(desk: &Desk<'_>, auth: &Authenticator) -> Result<Option<String>, Stop> {
    let order = NewKey {
        scope: identity::caller(&desk.settings)?,
        name: "the first key".to_owned(),
        roles: Roles::of(&Role::ALL),
        access: Access::Write,
        expires_at: None,
    };
    let minted = auth.mint_first(order).await.map_err(|error| refused(error.into()))?;
    Ok(minted.map(|minted| minted.shown.expose().to_owned()))
}

fn greet(desk: &Desk<'_>, listener: &TcpListener, is_encrypted: bool, key: Option<&str>) -> Result<(), Stop> {
    let address = listener.local_addr().map_err(|error| Stop::failed("the address is not known").because(error))?;
    let url = format!("{}://{address}", if is_encrypted { "https" } else { "http" });
    if desk.output.json {
        return desk.output.json(&json!({"listening": url, "key": key}));
    }
    desk.output.line(format!("listening on {url}"))?;
    if let Some(key) = key {
        desk.output.line(format!("key {key}"))?;
        desk.output.note("that key is shown once: it is the way in, also to the console; `insula token` makes others");
    }
    if !address.ip().is_loopback() && !is_encrypted {
        desk.output.note(
            "other machines can reach this without encryption: set serve.tls_certificate, or put a proxy before it",
        );
    }
    desk.output.flush()?;
    Ok(())
}

fn report(desk: &Desk<'_>, left: usize) -> Result<(), Stop> {
    if desk.output.json {
        return desk.output.json(&json!({"ended": true, "left": left}));
    }
    match left {
        0 => desk.output.line("ended; nothing was in progress any more"),
        1 => desk.output.line("ended; one run was handed over or stopped"),
        _ => desk.output.line(format!("ended; {left} runs were handed over or stopped")),
    }
}
