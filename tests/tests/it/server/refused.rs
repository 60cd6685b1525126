//! Who is let in to what: every route and every command, tried by everybody who may not.

use std::time::Duration;

use insula_server::auth::{Access, Role};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{
    house::{House, ISSUER},
    socket::Socket,
    table::{COMMANDS, Gate, ROUTES, Row},
    victim::{Victim, furnished},
    web::{Answer, Caller},
};
use crate::support::{Island, on_every_backend};

/// Asks for the victim's things as this row says.
pub(super) async fn try_row(row: &Row, by: &Caller, victim: &Victim) -> Answer {
    let path = victim.fill(&format!("{}{}", row.path, row.query));
    let body: Option<Value> = (!row.body.is_empty()).then(|| serde_json::from_str(&victim.fill(row.body)).unwrap());
    by.ask(row.method, &path, body.as_ref()).await
}

fn token(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn claims(house: &House, seconds: i64) -> Value {
    let now = house.island.factory().clock().now().as_micros() / 1_000_000;
    json!({"sub": "ada", "tenant_id": "acme", "exp": now + seconds})
}

/// Credentials that are worth nothing, each in its way.
async fn worthless(house: &House) -> Vec<(&'static str, Caller)> {
    let ada = house.island.user("ada");
    let good = house.key(&ada).await;
    let revoked = house.mint(&ada, &Role::ALL, Access::Write).await;
    house.auth.revoke(None, &revoked.record.id).await.unwrap();
    let other_secret = format!("{}{}", &good[..good.len() - 4], "AAAA");
    let unsigned = format!("{}.{}.", "eyJhbGciOiJub25lIn0", "eyJzdWIiOiJhZGEiLCJ0ZW5hbnRfaWQiOiJhY21lIn0");
    let shown = [
        ("malformed", "salve".to_owned()),
        ("no text", String::new()),
        ("unknown", format!("insula_0123456789abcdef_{}", "A".repeat(43))),
        ("another's secret", other_secret),
        ("expired", house.expired_key(&ada).await),
        ("revoked", revoked.shown.expose().to_owned()),
        ("an expired token", token(&claims(house, -600), ISSUER)),
        ("a stranger's token", token(&claims(house, 600), "nobody shares this with the server")),
        ("an unsigned token", unsigned),
        ("a token of nobody", token(&json!({"tenant_id": "acme", "exp": 9_999_999_999_i64}), ISSUER)),
    ];
    let shown = shown.into_iter().map(|(what, bearer)| (what, house.caller(bearer)));
    [("nobody", house.nobody())].into_iter().chain(shown).collect()
}

on_every_backend! {
    /// Whatever is wrong with a credential: the same refusal, at every route.
    async fn a_credential_that_is_worth_nothing_opens_no_route(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let worthless = worthless(&house).await;
        let before = victim.holdings().await;
        let accepted = house.caller(token(&claims(&house, 600), ISSUER));
        assert_eq!(accepted.get("/v1/me").await.is(200)["credential"]["kind"], "token", "a good one is taken");
        let mut said = std::collections::BTreeSet::new();
        for (what, caller) in worthless {
            for row in ROUTES.iter().filter(|row| row.gate != Gate::Everybody) {
                let answer = try_row(row, &caller, &victim).await;
                assert_eq!(answer.status, 401, "{what}: {}: {answer:?}", row.name());
                assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
                let mut body = answer.refuses(401, "unauthenticated");
                body["request_id"] = Value::Null;
                said.insert(body.to_string());
            }
            let knocked = Socket::open(house.address, caller.bearer()).await;
            assert_eq!(knocked.err(), Some(401), "{what}: the socket");
        }
        assert_eq!(said.len(), 1, "all refusals are the same: {said:?}");
        assert_eq!(victim.holdings().await, before);
    }

    async fn whoever_may_only_read_changes_nothing(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let ada = house.island.user("ada");
        let reader = house.mint(&ada, &Role::ALL, Access::Read).await;
        let reader = house.caller(reader.shown.expose());
        let before = victim.holdings().await;
        for row in ROUTES.iter().filter(|row| row.changes()) {
            try_row(row, &reader, &victim).await.refuses(403, "forbidden");
        }
        let mut socket = house.socket(&reader).await;
        for order in COMMANDS.iter().filter(|order| order.changes) {
            socket.say(serde_json::from_str(&victim.fill(order.text)).unwrap()).await;
            let frame = socket.frame().await;
            assert_eq!((&frame["type"], &frame["problem"]["status"]), (&json!("error"), &json!(403)), "{}", order.name);
        }
        reader.get("/v1/runs").await.is(200);
        assert_eq!(victim.holdings().await, before);
    }

    async fn a_role_opens_its_own_routes_and_no_others(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let eve = house.island.user("eve");
        let before = victim.holdings().await;
        for role in Role::ALL {
            let key = house.mint(&eve, &[role], Access::Write).await;
            let caller = house.caller(key.shown.expose());
            let closed = |gate: Gate| match gate {
                Gate::Everybody | Gate::Caller => false,
                Gate::Reader | Gate::Writer => role != Role::User,
                Gate::Operator => role != Role::Operator,
                Gate::AdminReader | Gate::Admin => role != Role::Admin,
            };
            for row in ROUTES.iter().filter(|row| closed(row.gate)) {
                try_row(row, &caller, &victim).await.refuses(403, "forbidden");
            }
            let knocked = Socket::open(house.address, caller.bearer()).await;
            assert_eq!(knocked.is_ok(), role == Role::User, "{role:?}: the socket");
        }
        assert_eq!(victim.holdings().await, before);
    }

    /// Nobody gives themselves more than they have.
    async fn a_key_made_with_a_key_has_no_more_than_that(island: Island) {
        let house = House::open(island).await;
        let ada = house.island.user("ada");
        let reader = house.mint(&ada, &[Role::User], Access::Read).await;
        let reader = house.caller(reader.shown.expose());
        reader.post("/v1/keys", json!({"name": "more", "access": "write"})).await.refuses(403, "forbidden");
        let writer = house.user("ada").await;
        for body in [json!({"name": "x", "roles": ["admin"]}), json!({"name": "x", "user_id": "bob"})] {
            writer.post("/v1/keys", body).await.refuses(400, "invalid-request");
        }
        let made = writer.post("/v1/keys", json!({"name": "copy", "access": "read", "expires_in": "1h"})).await.is(201);
        assert_eq!((&made["roles"], &made["access"]), (&json!(["user"]), &json!("read")));
        let copy = house.caller(made["key"].as_str().unwrap());
        copy.post("/v1/runs", json!({"agent": "echo"})).await.refuses(403, "forbidden");
        copy.post("/v1/tickets", json!({})).await.is(201);
    }
}

/// A credential is looked at before anything else that somebody sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_learns_by_a_broken_request_what_is_there() {
    crate::support::Backing::Memory
        .tell(async |island: Island| {
            let house = House::open(furnished(island)).await;
            let nobody = house.nobody();
            for row in ROUTES.iter().filter(|row| row.gate != Gate::Everybody) {
                let path = row.path.replace('{', "%7B").replace('}', "%7D");
                let broken = nobody.request(row.method, &format!("{path}?limit=x&after=-1&from=y"));
                let broken =
                    broken.header("content-type", "application/json").body("{").timeout(Duration::from_secs(30));
                Answer::of(broken.send().await.unwrap()).await.refuses(401, "unauthenticated");
            }
        })
        .await;
}
