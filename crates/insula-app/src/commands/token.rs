//! `insula token`.

use insula_context::Timestamp;
use serde::Deserialize;

use super::Desk;
use crate::{
    cli::{TokenCommand, TokenCreateArgs, TokenListArgs, TokenRevokeArgs, WhoseArgs},
    exit::{Kind, Stop},
    island::{KeyOrder, Reach, Whose},
    table::Columns,
    words,
};

/// Makes, lists and revokes keys.
pub(super) async fn token(desk: &Desk<'_>, command: TokenCommand) -> Result<(), Stop> {
    match command {
        TokenCommand::Create(args) => create(desk, args).await,
        TokenCommand::List(args) => list(desk, args).await,
        TokenCommand::Revoke(args) => revoke(desk, args).await,
    }
}

/// A key, as far as it is shown.
#[derive(Deserialize)]
struct Shown {
    /// Only in the answer that made it.
    #[serde(default)]
    key: String,
    key_id: String,
    tenant_id: String,
    user_id: String,
    name: String,
    roles: Vec<String>,
    access: String,
    created_at: Timestamp,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    last_used_at: Option<Timestamp>,
    #[serde(default)]
    revoked_at: Option<Timestamp>,
}

async fn create(desk: &Desk<'_>, args: TokenCreateArgs) -> Result<(), Stop> {
    let roles: Result<_, _> = args.roles.iter().map(|role| role.parse()).collect();
    let order = KeyOrder {
        of: args.for_user,
        name: args.name,
        roles: roles.map_err(|error| Stop::usage(format!("a role is {error}")))?,
        reach: if args.read_only { Reach::Read } else { Reach::Whole },
        expires_in: args.expires,
    };
    let said = desk.island()?.create_key(order).await?;
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Shown { key, key_id, tenant_id, user_id, roles, access, expires_at, .. } = said.read()?;
    desk.output.line(&key)?;
    let until = expires_at.map_or_else(|| "for ever".to_owned(), |at| format!("until {}", desk.output.date(at)));
    let may = format!("{} ({access})", roles.join(", "));
    desk.output.note(words::plain(&format!("key {key_id} of {tenant_id}/{user_id}: {may}, {until}")));
    desk.output
        .note("it is not shown again; keep it in a file that you alone may read, and name that with --key @FILE");
    Ok(())
}

async fn list(desk: &Desk<'_>, args: TokenListArgs) -> Result<(), Stop> {
    let (island, whose) = (desk.island()?, whose(args.whose));
    let page = island.keys(&whose, args.limit as usize).await?;
    if desk.output.json {
        return desk.output.json(&page);
    }
    if page.items.is_empty() {
        desk.output.note("no keys here yet; `insula token create` makes one");
        return Ok(());
    }
    let headings = ["key", "of", "name~", "may", "made", "expires", "last used"];
    let mut columns = Columns::new(desk.output, &headings);
    for key in &page.items {
        columns.row(row(desk, key.read()?));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))?;
    if page.next.is_some() {
        desk.output.note("there are more: raise --limit");
    }
    Ok(())
}

fn whose(args: WhoseArgs) -> Whose {
    match args.for_user {
        Some(named) => Whose::Of(named),
        None if args.all => Whose::All,
        None => Whose::Own,
    }
}

fn row(desk: &Desk<'_>, key: Shown) -> [String; 7] {
    let date = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| desk.output.date(at));
    let ends = if key.revoked_at.is_some() { "revoked".to_owned() } else { date(key.expires_at) };
    [
        key.key_id,
        format!("{}/{}", key.tenant_id, key.user_id),
        key.name,
        format!("{}: {}", key.access, key.roles.join(",")),
        desk.output.date(key.created_at),
        ends,
        date(key.last_used_at),
    ]
}

async fn revoke(desk: &Desk<'_>, args: TokenRevokeArgs) -> Result<(), Stop> {
    if args.id.starts_with("insula_") {
        // Not repeated, because it is a secret.
        return Err(Stop::usage("that is a key, and its id is wanted").advise("`insula token list` shows the ids"));
    }
    let whose = if args.all { Whose::All } else { Whose::Own };
    let Some(said) = desk.island()?.revoke_key(&whose, &args.id).await? else {
        return Err(Stop::new(Kind::NotFound, format!("there is no key {}", args.id))
            .advise("`insula token list` lists them; --all reaches those of others"));
    };
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Shown { key_id, name, .. } = said.read()?;
    desk.output.line(words::plain(&format!("{key_id} ({name}) is worth nothing any more")))
}
