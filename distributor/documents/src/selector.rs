//! Selectors choose agents by their labels. In YAML they are `matchLabels` and `matchExpressions`, on the
//! command line `model=lamp-2,ring!=canary,hw in (b,c),!broken`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use provisioning::Name;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema::NameForm;
use super::text::{Text, text_type};
use fwcast_state::Label;

/// Agents that meet all conditions; without conditions, every agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    default,
    expecting = "a selector: matchLabels and matchExpressions"
)]
pub struct Selector {
    /// These labels with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, LabelValue>")]
    pub match_labels: BTreeMap<Name, LabelValue>,
    /// All of these conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RequirementForm", into = "RequirementForm")]
pub struct Requirement {
    /// Which label.
    pub key: Name,
    /// What it requires of the label.
    pub condition: Condition,
}

/// What a condition requires of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is there, with one of these values.
    In(Vec<LabelValue>),
    /// It is missing, or has another value than these.
    NotIn(Vec<LabelValue>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// The value of a label: 1 to 64 letters, digits, '.', '-' and '_'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelValue(String);

/// A [`Requirement`] as it is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a condition: key, operator and values")]
#[schemars(rename = "Requirement")]
struct RequirementForm {
    /// Which label.
    #[schemars(with = "NameForm")]
    key: Name,
    /// What it requires of the label.
    operator: Operator,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<LabelValue>,
}

/// What a condition requires of a label. A missing label is `NotIn` any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Whether an agent with these labels meets it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): (&Name, &LabelValue)| labels.get(key.as_str()) == Some(&value.0);
        self.match_labels.iter().all(equal) && self.match_expressions.iter().all(|it| it.is_met(labels))
    }
}

impl Requirement {
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(self.key.as_str());
        let among = |values: &[LabelValue]| values.iter().any(|wanted| value == Some(&wanted.0));
        match &self.condition {
            Condition::In(values) => among(values),
            Condition::NotIn(values) => !among(values),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
        }
    }
}

impl TryFrom<RequirementForm> for Requirement {
    type Error = &'static str;

    fn try_from(form: RequirementForm) -> Result<Self, &'static str> {
        let condition = match (form.operator, form.values.is_empty()) {
            (Operator::In, false) => Condition::In(form.values),
            (Operator::NotIn, false) => Condition::NotIn(form.values),
            (Operator::Exists, true) => Condition::Exists,
            (Operator::DoesNotExist, true) => Condition::DoesNotExist,
            (Operator::In | Operator::NotIn, true) => {
                return Err("the operators In and NotIn need at least one value: give values");
            }
            (Operator::Exists | Operator::DoesNotExist, false) => {
                return Err("the operators Exists and DoesNotExist take no values: leave values out");
            }
        };
        Ok(Self { key: form.key, condition })
    }
}

impl From<Requirement> for RequirementForm {
    fn from(requirement: Requirement) -> Self {
        let (operator, values) = match requirement.condition {
            Condition::In(values) => (Operator::In, values),
            Condition::NotIn(values) => (Operator::NotIn, values),
            Condition::Exists => (Operator::Exists, Vec::new()),
            Condition::DoesNotExist => (Operator::DoesNotExist, Vec::new()),
        };
        Self { key: requirement.key, operator, values }
    }
}

impl FromStr for Selector {
    type Err = String;

    /// From the command line.
    fn from_str(text: &str) -> Result<Self, String> {
        let match_expressions = parts(text).into_iter().map(condition).collect::<Result<_, _>>()?;
        Ok(Self { match_labels: BTreeMap::new(), match_expressions })
    }
}

/// The conditions, split at commas outside parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn condition(part: &str) -> Result<Requirement, String> {
    let part = part.trim();
    let wanted = || {
        format!(
            "'{}' is not a condition on a label: write key=value, key!=value, key in (a,b), key notin \
             (a,b), key or !key, with commas between them",
            part.escape_debug()
        )
    };
    let key = |text: &str| Name::new(text.trim()).ok().filter(Name::is_plain).ok_or_else(wanted);
    let one = |text: &str| LabelValue::read(text.trim()).map(|value| vec![value]).map_err(|_| wanted());
    let (left, made): (&str, Condition) = if let Some(list) = part.strip_suffix(')') {
        let (left, values) = list.split_once('(').ok_or_else(wanted)?;
        let values = values.split(',').map(|value| LabelValue::read(value.trim()).map_err(|_| wanted()));
        let values = values.collect::<Result<_, _>>()?;
        match left.trim_end().rsplit_once(char::is_whitespace).ok_or_else(wanted)? {
            (left, "in") => (left, Condition::In(values)),
            (left, "notin") => (left, Condition::NotIn(values)),
            _ => return Err(wanted()),
        }
    } else if let Some((left, value)) = part.split_once("!=") {
        (left, Condition::NotIn(one(value)?))
    } else if let Some((left, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (left, Condition::In(one(value)?))
    } else if let Some(left) = part.strip_prefix('!') {
        (left, Condition::DoesNotExist)
    } else {
        (part, Condition::Exists)
    };
    Ok(Requirement { key: key(left)?, condition: made })
}

impl LabelValue {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for LabelValue {
    fn read(text: &str) -> Result<Self, String> {
        // A label is checked as a whole, in one place.
        match format!("key={text}").parse::<Label>() {
            Ok(label) => Ok(Self(label.value)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read_bare(shown: &str) -> Result<Self, String> {
        Err(format!("YAML reads this label's value as {shown}, which is not text: write it in quotes"))
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(LabelValue, "LabelValue", {
    "type": "string",
    "description": "The value of a label: letters, digits, '.', '-' and '_'; a number goes in quotes.",
    "pattern": "^[A-Za-z0-9._-]{1,64}$"
});

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_command_line_says_all_conditions() {
        let lamp = labels(&[("model", "lamp-2"), ("ring", "prod"), ("hw", "b")]);
        for (text, met) in [
            ("model=lamp-2", true),
            ("model==lamp-2", true),
            ("model = lamp-2 , ring != canary", true),
            ("model=lamp-3", false),
            ("ring!=prod", false),
            ("floor!=3", true),
            ("hw in (b,c)", true),
            ("hw in (c, d),model", false),
            ("hw notin (c,d)", true),
            ("floor notin (c)", true),
            ("hw notin (a,b)", false),
            ("hw", true),
            ("floor", false),
            ("!floor", true),
            ("!hw", false),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&lamp), met, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            ",",
            "a=b,",
            "a in b",
            "a in (",
            "a in ()",
            "a isin (b)",
            "(b)",
            "in (b)",
            "A=b",
            "a=b c",
            "a=",
            "!=b",
            "!!a",
            "a=\u{1b}[2J",
            "a<b",
            "a=b=c",
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert!(error.contains("key notin (a,b)") && !error.contains('\u{1b}'), "{text}: {error}");
        }
    }

    #[test]
    fn yaml_says_the_same() {
        let text = "matchLabels: {model: lamp-2}\nmatchExpressions:\n- {key: hw, operator: In, values: [b, \
                    c]}\n- {key: ring, operator: NotIn, values: [canary]}\n- {key: floor, operator: \
                    DoesNotExist}\n- {key: model, operator: Exists}\n";
        let selector: Selector = provisioning::yaml::from_str(text).unwrap();
        assert!(selector.matches(&labels(&[("model", "lamp-2"), ("hw", "b")])));
        assert!(!selector.matches(&labels(&[("model", "lamp-2"), ("hw", "b"), ("floor", "1")])));
        assert!(!selector.matches(&labels(&[("model", "lamp-2"), ("hw", "b"), ("ring", "canary")])));
        let written = provisioning::yaml::to_string(&selector).unwrap();
        assert_eq!(provisioning::yaml::from_str::<Selector>(&written).unwrap(), selector);
        assert!(Selector::default().matches(&labels(&[])));
        for (text, said) in [
            ("matchExpressions: [{key: a, operator: In}]", "at least one value"),
            ("matchExpressions: [{key: a, operator: Exists, values: [b]}]", "no values"),
            ("matchExpressions: [{key: a, operator: in, values: [b]}]", "`In`"),
            ("matchLabels: {hw: 2}", "in quotes"),
            ("matchLabels: {hw: a b}", "64 letters"),
        ] {
            let error = provisioning::yaml::from_str::<Selector>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
