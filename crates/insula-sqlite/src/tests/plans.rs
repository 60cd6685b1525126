//! Finding work costs the same however many runs have ended. Counted in steps of the database's machine.

use rusqlite::{Connection, StatementStatus, params_from_iter};

use crate::{after, census, claim, error::File, list, migrations, news, schedules, webhooks};

/// What is asked again and again, and the index that answers it.
const ASKED: [(&str, &str); 17] = [
    (claim::WAKE, "runs_asleep"),
    (claim::NEXT_WORKER, "runs_held"),
    (claim::EXPIRE, "runs_held"),
    (claim::NEXT, "runs_ready"),
    (claim::HELD_OF, "runs_held_of_owner"),
    (after::FIRST, "runs_in_turn"),
    (list::OPEN, "runs_open"),
    (news::TOLD, "runs_told"),
    (schedules::DUE, "schedules_due"),
    (webhooks::DUE, "webhooks_due"),
    (webhooks::OPEN, "webhooks_open"),
    (census::OPEN, "runs_open"),
    (census::USERS, "runs_open"),
    (census::READY, "runs_ready"),
    (census::HELD, "runs_held"),
    (census::ASLEEP, "runs_asleep"),
    (census::WEBHOOKS, "webhooks_open"),
];

/// A file with that many runs that have ended, of one owner in one thread, with a call that was made and a schedule that is
/// paused for each.
fn after_ends(ends: u32) -> Connection {
    const OWNER: &str = "INSERT INTO owners (tenant_id, user_id, last_run, last_thread) VALUES ('acme', 'ada', ?1, 1);";
    const THREAD: &str = "INSERT INTO threads VALUES (1, 1, 't', 0, 0, 0, 0, ?1, 0, 0);";
    const RUNS: &str = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO runs SELECT n, 1, 'r' || n, 1, n - 1, n - 1, 'completed', NULL, 0, 0, 1, 1, NULL, NULL, 0, 0, 0, 0, 0,
        0, 0, 0, 1, NULL, NULL, 0, NULL, 'a', '1', 'user', 'enough', NULL, NULL, NULL, NULL, '{}', NULL FROM n";
    const SCHEDULES: &str = "INSERT INTO schedules SELECT 1, run_id, 0, NULL, '{}' FROM runs WHERE ?1 > 0";
    const CALLS: &str =
        "INSERT INTO webhooks SELECT 1, run_no, 'delivered', 1, NULL, NULL, '{}' FROM runs WHERE ?1 > 0";
    let mut connection = Connection::open_in_memory().expect("opens");
    migrations::migrate(&mut connection, &File::new("memory".as_ref())).expect("migrates");
    for statement in [OWNER, THREAD, RUNS, SCHEDULES, CALLS] {
        connection.execute(statement, [ends]).expect(statement);
    }
    connection
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    let ones = vec![1; explain.parameter_count()];
    explain.query_map(params_from_iter(ones), |row| row.get(3)).expect(sql).collect::<Result<_, _>>().expect(sql)
}

fn steps(connection: &Connection, sql: &str) -> i32 {
    let mut statement = connection.prepare(sql).expect(sql);
    let ones = vec![1; statement.parameter_count()];
    let mut rows = statement.query(params_from_iter(ones)).expect(sql);
    while rows.next().expect(sql).is_some() {}
    drop(rows);
    statement.get_status(StatementStatus::VmStep)
}

#[test]
fn finding_work_costs_the_same_after_many_runs_have_ended() {
    let (few, many) = (after_ends(10), after_ends(5_000));
    for (sql, index) in ASKED {
        let plan = plan(&many, sql);
        let uses =
            |step: &String| step.contains(&format!("INDEX {index} ")) || step.ends_with(&format!("INDEX {index}"));
        assert!(plan.iter().any(uses), "{sql}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql} sorts: {plan:?}");
        assert_eq!(steps(&few, sql), steps(&many, sql), "{sql}");
    }
}
