//! `insula agents`.

use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::{Value, json};

use super::Desk;
use crate::{catalog, exit::Stop, table::Columns};

/// Lists the agents, or shows one in full.
pub(super) fn agents(desk: &Desk<'_>, name: Option<&str>) -> Result<(), Stop> {
    let registry = catalog::agents()?;
    match name {
        Some(name) => one(desk, &registry, registry.lookup(name)?),
        None => all(desk, &registry),
    }
}

fn all(desk: &Desk<'_>, registry: &AgentClassRegistry) -> Result<(), Stop> {
    if desk.output.json {
        return desk.output.json(&json!({"agents": registry.classes().collect::<Vec<_>>()}));
    }
    let mut columns = Columns::new(desk.output, &["agent", "version", "needs>", "description~"]);
    for class in registry.classes() {
        let needs = class.dependencies().count();
        let needs = if needs == 0 { "-".to_owned() } else { needs.to_string() };
        columns.row([class.name().to_string(), class.version().to_string(), needs, class.description().to_owned()]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

fn one(desk: &Desk<'_>, registry: &AgentClassRegistry, class: &AgentClass) -> Result<(), Stop> {
    let described = serde_json::to_value(class).unwrap_or_default();
    if desk.output.json {
        return desk.output.json(&described);
    }
    let (output, paint) = (desk.output, desk.output.results);
    output.line(format!("{} version {}", paint.bold(class.name()), class.version()))?;
    output.line(class.description())?;
    let needs: Vec<String> = class.dependencies().map(ToString::to_string).collect();
    list(desk, "needs", &needs)?;
    let users: Vec<String> = registry.dependents(class.name()).map(str::to_owned).collect();
    list(desk, "used by", &users)?;
    for part in ["input", "output", "config"] {
        schema(desk, part, &described[format!("{part}_schema")])?;
    }
    Ok(())
}

fn list(desk: &Desk<'_>, heading: &str, items: &[String]) -> Result<(), Stop> {
    if items.is_empty() {
        return Ok(());
    }
    desk.output.line(format!("\n{}", desk.output.results.bold(heading)))?;
    items.iter().try_for_each(|item| desk.output.line(format!("  {item}")))
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
    text.lines().try_for_each(|line| desk.output.line(format!("  {line}")))
}
