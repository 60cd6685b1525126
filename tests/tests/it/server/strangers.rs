//! Another user, who knows every id of the victim and puts it into every place.

use insula_server::auth::{Access, Role};
use serde_json::{Value, json};

use super::{
    house::House,
    refused::try_row,
    socket::Socket,
    table::{COMMANDS, Gate, ROUTES},
    victim::{CANARY, Victim, furnished},
};
use crate::support::{Island, on_every_backend};

on_every_backend! {
    /// Not one byte of a value, and not one change.
    async fn whoever_knows_anothers_ids_has_nothing_of_it(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let eve = house.user("eve").await;
        let before = victim.holdings().await;
        assert!(before.iter().filter(|held| held.contains(CANARY)).count() >= 7, "there is something to find");
        // What makes something of her own under the same id comes last.
        let mut rows = ROUTES.to_vec();
        rows.sort_by_key(|row| (row.foreign < 400, row.method != "GET"));
        for row in &rows {
            let answer = try_row(row, &eve, &victim).await;
            assert_eq!(answer.status, row.foreign, "{}: {answer:?}", row.name());
            let said = format!("{} {:?}", answer.text, answer.headers);
            assert!(!said.contains(CANARY), "{}: {said}", row.name());
            if answer.status == 404 && row.path != "/v1/agents/{name}" {
                answer.refuses(404, "not-found");
            }
        }
        assert_eq!(victim.holdings().await, before, "nothing of the victim's has changed");
    }

    /// Lists say nothing about what others have, also where they are asked for it by name.
    async fn lists_hold_what_is_ones_own(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let eve = house.user("eve").await;
        for row in ROUTES.iter().filter(|row| row.method == "GET" && row.foreign == 200 && row.gate == Gate::Reader) {
            let answer = try_row(row, &eve, &victim).await.is(200);
            let items = answer["items"].as_array().unwrap();
            match row.path {
                "/v1/agents" => assert!(!items.is_empty()),
                "/v1/keys" => assert!(items.iter().all(|key| key["user_id"] == "eve") && items.len() == 1),
                _ => assert_eq!(items, &Vec::<Value>::new(), "{}", row.name()),
            }
        }
    }

    /// What is there and what is not look the same to whoever has neither.
    async fn a_foreign_id_and_an_invented_one_are_refused_alike(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let eve = house.user("eve").await;
        let invented = |path: &str| path.replace("{hash}", &"0".repeat(64)).replace('{', "no-").replace('}', "");
        for row in ROUTES.iter().filter(|row| row.foreign == 404 && row.path != "/v1/agents/{name}") {
            let body: Option<Value> = (!row.body.is_empty()).then(|| serde_json::from_str(row.body).unwrap());
            let theirs = try_row(row, &eve, &victim).await;
            let nothing = eve.ask(row.method, &invented(&format!("{}{}", row.path, row.query)), body.as_ref()).await;
            let words = |body: Value| (body["type"].clone(), body["title"].clone(), body["detail"].clone());
            assert_eq!(words(theirs.is(404)), words(nothing.is(404)), "{}", row.name());
        }
    }

    async fn commands_with_anothers_ids_deliver_and_change_nothing(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let (eve, before) = (house.user("eve").await, victim.holdings().await);
        let mut socket = house.socket(&eve).await;
        for order in COMMANDS {
            let mut command: Value = serde_json::from_str(&victim.fill(order.text)).unwrap();
            command["id"] = json!(order.name);
            socket.say(command).await;
            let frame = loop {
                let frame = socket.frame().await;
                assert!(!frame.to_string().contains(CANARY), "{}: {frame}", order.name);
                // Events of her own run under the same name come in between.
                if frame["id"] == order.name {
                    break frame;
                }
                assert_eq!(frame["event"]["user_id"], "eve", "{frame}");
            };
            let (kind, status) = order.foreign;
            assert_eq!(frame["type"], kind, "{}: {frame}", order.name);
            assert!(kind != "error" || frame["problem"]["status"] == status, "{}: {frame}", order.name);
        }
        assert_eq!(victim.holdings().await, before);
    }

    /// EVT-2 for somebody who subscribes by name to what goes on at this moment.
    async fn a_subscription_to_anothers_thread_stays_silent_while_it_is_busy(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let eve = house.user("eve").await;
        let mut socket = house.socket(&eve).await;
        socket.subscribe("ada-thread", 0).await;
        socket.subscribe("eve-thread", 0).await;
        let answer = json!({"answer": CANARY});
        victim.caller.post("/v1/runs/ada-run/answer", answer).await.is(200);
        victim.caller.ended(json!({"agent": "echo", "input": CANARY, "thread_id": "ada-thread"})).await;
        let run = eve.submitted(json!({"agent": "echo", "input": "mine", "thread_id": "eve-thread"})).await;
        let told = socket.until_end_of(&run).await;
        assert!(told.iter().all(|told| told.run == run && !told.text.contains(CANARY)), "{told:?}");
        socket.answers().await;
    }

    /// Admins manage everybody's keys and limits, and see nothing of what anybody does.
    async fn operators_and_admins_see_nobodys_content(island: Island) {
        let house = House::open(furnished(island)).await;
        let victim = Victim::settle(&house).await;
        let root = house.mint(&house.island.user("root"), &[Role::Operator, Role::Admin], Access::Write).await;
        let root = house.caller(root.shown.expose());
        for row in ROUTES.iter().filter(|row| matches!(row.gate, Gate::Operator | Gate::AdminReader)) {
            let answer = try_row(row, &root, &victim).await;
            let no_limits_of_her_own = row.path.starts_with("/v1/admin/limits");
            assert_eq!(answer.status, if no_limits_of_her_own { 404 } else { 200 }, "{}: {answer:?}", row.name());
            // What a key is called is what an admin knows it by.
            let shown = answer.text.replace(&format!("{CANARY} laptop"), "");
            assert!(!shown.contains(CANARY), "{}: {shown}", row.name());
            assert!(row.gate != Gate::Operator || !shown.contains("ada"), "{}: {shown}", row.name());
        }
        let knocked = Socket::open(house.address, root.bearer()).await;
        assert_eq!(knocked.err(), Some(403), "an operator has no threads to listen to");
    }
}
