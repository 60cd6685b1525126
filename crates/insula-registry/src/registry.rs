//! The builder and the frozen value.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use jsonschema::Validator;
use serde_json::Value;

use crate::{AgentClass, Error, Fault, schema};

/// Collects classes. Nothing can be looked up before [`RegistryBuilder::freeze`], and nothing registered after it.
#[derive(Debug, Default)]
#[must_use = "a registry exists only once it is frozen"]
pub struct RegistryBuilder {
    classes: Vec<AgentClass>,
}

impl RegistryBuilder {
    /// Adds a class.
    pub fn register(mut self, class: AgentClass) -> Self {
        self.classes.push(class);
        self
    }

    /// Checks everything and makes it immutable.
    ///
    /// # Errors
    /// [`Error::Freeze`] with every fault: blank names, duplicates, dependency gaps and cycles, schemas that are none.
    pub fn freeze(self) -> Result<AgentClassRegistry, Error> {
        let mut faults = self.blank_names();
        faults.extend(self.duplicates());
        faults.extend(self.gaps());
        faults.extend(self.cycle());
        let validators = self.compile(&mut faults);
        if !faults.is_empty() {
            return Err(Error::Freeze(faults));
        }
        let classes = self.classes.into_iter().map(|class| (class.name.to_string(), Arc::new(class))).collect();
        Ok(AgentClassRegistry { inner: Arc::new(Inner { classes, validators }) })
    }

    fn blank_names(&self) -> Vec<Fault> {
        let blank = self.classes.iter().enumerate().filter(|(_, class)| class.name.trim().is_empty());
        blank.map(|(n, _)| Fault::BlankName { position: n + 1 }).collect()
    }

    fn duplicates(&self) -> Vec<Fault> {
        let mut times = BTreeMap::<&str, usize>::new();
        for class in self.classes.iter().filter(|class| !class.name.trim().is_empty()) {
            *times.entry(&class.name).or_default() += 1;
        }
        let repeated = times.into_iter().filter(|(_, times)| *times > 1);
        repeated.map(|(name, times)| Fault::Duplicate { name: name.to_owned(), times }).collect()
    }

    fn gaps(&self) -> Vec<Fault> {
        let known = |name: &str| self.classes.iter().any(|class| &*class.name == name);
        let needs = self.classes.iter().flat_map(|class| class.classes_needed().map(move |need| (class, need)));
        let missing = needs.filter(|(_, need)| !known(need));
        missing.map(|(class, need)| Fault::Gap { class: class.name.to_string(), missing: need.to_owned() }).collect()
    }

    /// The first cycle that a walk over sorted names meets.
    fn cycle(&self) -> Option<Fault> {
        let needs: BTreeMap<&str, Vec<&str>> =
            self.classes.iter().map(|class| (&*class.name, class.classes_needed().collect())).collect();
        let mut done = HashMap::new();
        needs.keys().find_map(|name| walk(name, &needs, &mut Vec::new(), &mut done)).map(Fault::Cycle)
    }

    fn compile(&self, faults: &mut Vec<Fault>) -> HashMap<String, Validator> {
        let mut validators = HashMap::new();
        for class in &self.classes {
            let schemas = [("input", &class.input), ("output", &class.output), ("config", &class.config)];
            for (which, schema) in schemas.into_iter().filter_map(|(which, schema)| Some((which, schema.as_ref()?))) {
                match schema::compile(schema) {
                    Ok(validator) if which == "input" => {
                        validators.insert(class.name.to_string(), validator);
                    }
                    Ok(_) => {}
                    Err(problem) => faults.push(Fault::Schema { class: class.name.to_string(), which, problem }),
                }
            }
        }
        validators
    }
}

/// Depth first; `path` is the way from the start, `done` what leads to no cycle.
fn walk<'a>(
    name: &'a str,
    needs: &BTreeMap<&'a str, Vec<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut HashMap<&'a str, ()>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|seen| *seen == name) {
        return Some(path[start..].iter().chain([&name]).map(|name| (*name).to_owned()).collect());
    }
    if done.contains_key(name) {
        return None;
    }
    path.push(name);
    let found = needs.get(name).into_iter().flatten().find_map(|need| walk(need, needs, path, done));
    path.pop();
    done.insert(name, ());
    found
}

struct Inner {
    classes: BTreeMap<String, Arc<AgentClass>>,
    validators: HashMap<String, Validator>,
}

/// The classes that exist: immutable, shared by a counter, read without a lock.
#[derive(Clone)]
pub struct AgentClassRegistry {
    inner: Arc<Inner>,
}

impl AgentClassRegistry {
    /// An empty builder.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// The class of this name.
    pub fn class(&self, name: &str) -> Option<&Arc<AgentClass>> {
        self.inner.classes.get(name)
    }

    /// The class of this name, or an error that lists those that exist.
    ///
    /// # Errors
    /// [`Error::UnknownClass`].
    pub fn lookup(&self, name: &str) -> Result<&Arc<AgentClass>, Error> {
        let unknown =
            || Error::UnknownClass { name: name.to_owned(), available: self.names().map(str::to_owned).collect() };
        self.class(name).ok_or_else(unknown)
    }

    /// Every class, sorted by name.
    pub fn classes(&self) -> impl Iterator<Item = &Arc<AgentClass>> {
        self.inner.classes.values()
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.classes.keys().map(String::as_str)
    }

    /// The classes that depend on this one, sorted.
    pub fn dependents<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let depends = move |class: &&Arc<AgentClass>| class.classes_needed().any(|need| need == name);
        self.classes().filter(depends).map(|class| &**class.name())
    }

    /// Checks an input against the schema that its class declares, if it declares one.
    ///
    /// # Errors
    /// [`Error::Input`] with every violation.
    pub fn check_input(&self, class: &str, input: &Value) -> Result<(), Error> {
        let Some(validator) = self.inner.validators.get(class) else { return Ok(()) };
        match schema::violations(validator, input) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(Error::Input { class: class.to_owned(), violations }),
        }
    }
}

impl fmt::Debug for AgentClassRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.classes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use insula_agent::kit;

    use super::*;

    fn class(name: &str) -> AgentClass {
        AgentClass::new(name, "1", kit::echo)
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let refused = AgentClassRegistry::builder()
            .register(class(" "))
            .register(class("twin"))
            .register(class("twin"))
            .register(class("lonely").depends_on("nobody"))
            .register(class("a").depends_on("b"))
            .register(class("b").depends_on("c"))
            .register(class("c").depends_on("a"))
            .register(class("odd").input_schema(serde_json::json!({"type": 7})))
            .freeze();
        let Err(Error::Freeze(faults)) = refused else { panic!("frozen: {refused:?}") };
        assert_eq!(faults[0], Fault::BlankName { position: 1 });
        assert_eq!(faults[1], Fault::Duplicate { name: "twin".into(), times: 2 });
        assert_eq!(faults[2], Fault::Gap { class: "lonely".into(), missing: "nobody".into() });
        assert_eq!(faults[3].to_string(), "a dependency cycle: a → b → c → a");
        assert!(matches!(&faults[4], Fault::Schema { class, which: "input", .. } if class == "odd"));
        assert_eq!(faults.len(), 5);
    }

    #[test]
    fn inputs_are_checked_against_the_declared_schema() {
        let schema = serde_json::json!({"type": "object", "required": ["file"]});
        let registry = AgentClassRegistry::builder().register(class("reader").input_schema(schema)).freeze();
        let registry = registry.expect("fits together");
        assert_eq!(registry.check_input("reader", &serde_json::json!({"file": "x"})), Ok(()));
        let refused = registry.check_input("reader", &serde_json::json!({})).expect_err("no file");
        assert_eq!(refused.to_string(), "the input of \"reader\" is refused: \"file\" is a required property");
    }

    #[test]
    fn a_frozen_registry_is_shared_and_offers_no_way_to_register() {
        static_assertions::assert_impl_all!(AgentClassRegistry: Send, Sync, Clone);
        let registry = AgentClassRegistry::builder()
            .register(class("base"))
            .register(class("z").depends_on("base"))
            .register(class("m").depends_on("base"))
            .freeze()
            .expect("fits together");
        assert_eq!(registry.dependents("base").collect::<Vec<_>>(), ["m", "z"]);
        assert_eq!(
            registry.lookup("basis").map(|_| ()).map_err(|e| e.to_string()),
            Err("there is no agent class \"basis\"; there are: base, m, z".to_owned())
        );
    }
}
