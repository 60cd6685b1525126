//! The second wall: what a statement meets that forgot to say whose rows it means. Every table with an owner is tried, also
//! those that do not exist yet: they are read from the catalogue.

use insula_test_services::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{story::administrator, support};

/// A table with an owner, and a statement that puts a row for an owner into it.
struct Table {
    name: String,
    insert: String,
}

impl Table {
    fn insert_for(&self, owner: i64) -> String {
        self.insert.replace("{owner}", &owner.to_string())
    }
}

/// Every table with an owner but the names of the owners themselves, whose numbers nobody chooses.
async fn tables(connection: &mut PgConnection) -> Vec<Table> {
    const COLUMNS: &str = "SELECT c.table_name::text,
            string_agg(quote_ident(c.column_name), ', ' ORDER BY c.ordinal_position),
            string_agg(CASE c.data_type WHEN 'text' THEN '''x{owner}''' WHEN 'boolean' THEN 'false'
                WHEN 'bytea' THEN '''\\x01''' WHEN 'ARRAY' THEN '''{}''' ELSE '{owner}' END, ', ' ORDER BY c.ordinal_position)
        FROM information_schema.columns c WHERE c.table_schema = 'insula' AND c.table_name <> 'owners'
        AND c.is_nullable = 'NO' AND c.is_identity = 'NO'
        GROUP BY c.table_name HAVING bool_or(c.column_name = 'owner_no') ORDER BY 1";
    let found: Vec<(String, String, String)> = sqlx::query_as(COLUMNS).fetch_all(connection).await.expect("lists");
    let table = |(name, columns, values)| {
        let insert = format!("INSERT INTO insula.{name} ({columns}) VALUES ({values})");
        Table { name, insert }
    };
    found.into_iter().map(table).collect()
}

/// A database in which Ada and Bob have a row in every table; their numbers, and the tables.
async fn furnished() -> (Postgres, [i64; 2], Vec<Table>) {
    const NUMBERS: &str = "SELECT insula.number_all(ARRAY['acme', 'acme'], ARRAY['ada', 'bob'])";
    let database = support::database().await;
    let mut connection = administrator(&database).await;
    let numbers: Vec<i64> = sqlx::query_scalar(NUMBERS).fetch_one(&mut connection).await.expect("numbers");
    let tables = tables(&mut connection).await;
    for table in &tables {
        for owner in &numbers {
            // Numbering has made some rows already.
            let insert = format!("{} ON CONFLICT DO NOTHING", table.insert_for(*owner));
            connection.execute(AssertSqlSafe(insert)).await.expect(&table.name);
        }
    }
    (database, [numbers[0], numbers[1]], tables)
}

/// What a statement did, in a transaction of its own that has entered these owners; taken back afterwards. `None` where it was
/// refused.
async fn tried(connection: &mut PgConnection, entered: &[i64], statement: String) -> Option<u64> {
    let entered: Vec<String> = entered.iter().map(i64::to_string).collect();
    let begin = format!("BEGIN; SELECT set_config('insula.owners', '{{{}}}', true)", entered.join(","));
    (&mut *connection).execute(AssertSqlSafe(begin)).await.expect("begins");
    let outcome = (&mut *connection).execute(AssertSqlSafe(statement)).await;
    connection.execute("ROLLBACK").await.expect("is taken back");
    outcome.ok().map(|done| done.rows_affected())
}

#[tokio::test]
async fn a_statement_without_a_condition_meets_nobody_else() {
    let (database, [ada, bob], tables) = furnished().await;
    let mut app = PgConnection::connect(&support::as_role(&database, "insula_app")).await.expect("connects");
    assert!(tables.len() >= 20, "only {} tables have an owner", tables.len());
    for Table { name, .. } in &tables {
        let all = || format!("SELECT * FROM insula.{name}");
        let may_read = tried(&mut app, &[ada], all()).await;
        assert!(matches!(may_read, None | Some(1)), "{name}: Ada reads {may_read:?} rows");
        let none_entered = tried(&mut app, &[], all()).await;
        assert!(matches!(none_entered, None | Some(0)), "{name}: nobody reads {none_entered:?} rows");
        let both = tried(&mut app, &[ada, bob], all()).await;
        assert_eq!(both, may_read.map(|_| 2), "{name}: there is something to be met");
        for change in [format!("UPDATE insula.{name} SET owner_no = owner_no"), format!("DELETE FROM insula.{name}")] {
            let done = tried(&mut app, &[ada], change.clone()).await;
            assert!(matches!(done, None | Some(1)), "{change} changed {done:?} rows");
        }
    }
}

#[tokio::test]
async fn nobody_writes_in_anothers_name() {
    let (database, [ada, bob], tables) = furnished().await;
    let mut administrator = administrator(&database).await;
    let mut app = PgConnection::connect(&support::as_role(&database, "insula_app")).await.expect("connects");
    for table in &tables {
        let empty = format!("DELETE FROM insula.{}", table.name);
        administrator.execute(AssertSqlSafe(empty)).await.expect(&table.name);
        let foreign = tried(&mut app, &[ada], table.insert_for(bob)).await;
        assert_eq!(foreign, None, "{}: Ada's transaction wrote a row of Bob's", table.name);
        let given = format!("{}; UPDATE insula.{} SET owner_no = {bob}", table.insert_for(ada), table.name);
        assert_eq!(tried(&mut app, &[ada], given).await, None, "{}: a row was given away", table.name);
    }
}

#[tokio::test]
async fn the_owner_of_the_tables_is_behind_the_wall_as_well() {
    let (database, _, tables) = furnished().await;
    let mut owner = administrator(&database).await;
    owner.execute("SET ROLE insula_owner").await.expect("is a role");
    for Table { name, .. } in &tables {
        let found = tried(&mut owner, &[], format!("SELECT * FROM insula.{name}")).await;
        assert!(matches!(found, None | Some(0)), "{name}: the owner of the table reads {found:?} rows");
    }
}
