//! `insula agents`.

use serde_json::{Value, json};

use super::Desk;
use crate::{
    exit::{Kind, Stop},
    island::{Agent, Need},
    table::Columns,
    words,
};

/// Lists the agents, or shows one in full.
pub(super) async fn agents(desk: &Desk<'_>, name: Option<&str>) -> Result<(), Stop> {
    let said = desk.island()?.agents().await?;
    let agents: Vec<Agent> = said.iter().map(|agent| agent.read()).collect::<Result<_, _>>()?;
    let Some(name) = name else {
        return if desk.output.json { desk.output.json(&json!({"agents": said})) } else { all(desk, agents) };
    };
    let found = agents.iter().position(|agent| agent.name == name).ok_or_else(|| absent(name, &agents))?;
    if desk.output.json { desk.output.json(&said[found]) } else { one(desk, &agents, &agents[found]) }
}

fn absent(name: &str, agents: &[Agent]) -> Stop {
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    Stop::new(Kind::NotFound, format!("there is no agent class \"{name}\"; there are: {}", names.join(", ")))
        .advise("`insula agents` says what each of them does")
}

fn all(desk: &Desk<'_>, agents: Vec<Agent>) -> Result<(), Stop> {
    let mut columns = Columns::new(desk.output, &["agent", "version", "needs>", "description~"]);
    for agent in agents {
        let needs = agent.dependencies.len();
        let needs = if needs == 0 { "-".to_owned() } else { needs.to_string() };
        columns.row([agent.name, agent.version, needs, agent.description]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

fn one(desk: &Desk<'_>, agents: &[Agent], agent: &Agent) -> Result<(), Stop> {
    let (output, paint) = (desk.output, desk.output.results);
    output.line(format!("{} version {}", paint.bold(&words::plain(&agent.name)), words::plain(&agent.version)))?;
    output.line(words::plain(&agent.description))?;
    let needs: Vec<String> = agent.dependencies.iter().map(ToString::to_string).collect();
    list(desk, "needs", &needs)?;
    let uses =
        |other: &&Agent| other.dependencies.iter().any(|n| matches!(n, Need::Agent(name) if *name == agent.name));
    let users: Vec<String> = agents.iter().filter(uses).map(|user| user.name.clone()).collect();
    list(desk, "used by", &users)?;
    for (part, of) in
        [("input", &agent.input_schema), ("output", &agent.output_schema), ("config", &agent.config_schema)]
    {
        schema(desk, part, of)?;
    }
    Ok(())
}

fn list(desk: &Desk<'_>, heading: &str, items: &[String]) -> Result<(), Stop> {
    if items.is_empty() {
        return Ok(());
    }
    desk.output.line(format!("\n{}", desk.output.results.bold(heading)))?;
    items.iter().try_for_each(|item| desk.output.line(format!("  {}", words::plain(item))))
}

fn schema(desk: &Desk<'_>, part: &str, schema: &Value) -> Result<(), Stop> {
    let heading = desk.output.results.bold(part);
    if schema.is_null() {
        return match part {
            "input" => desk.output.line(format!("\n{heading}\n  anything")),
            _ => Ok(()),
        };
    }
    desk.output.line(format!("\n{heading}"))?;
    let text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.lines().try_for_each(|line| desk.output.line(format!("  {}", words::plain(line))))
}
