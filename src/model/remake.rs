//! The live stack's template with something taken out of it, or under another name.

use serde_json::{Value, json};

use super::drift::{Cure, Drift};
use super::live::Stack;
use super::template::{self, Template};

/// The live stack with another text.
pub(super) fn as_it_is(stack: &Stack, text: String) -> Template {
    let mut tags = stack.tags.clone();
    tags.retain(|key, _| !key.starts_with("aws:"));
    let sealed = json!([text, stack.parameters, tags]).to_string();
    Template {
        stack_name: stack.name.clone(),
        fingerprint: template::digest(sealed.as_bytes()),
        text,
        parameters: stack.parameters.clone(),
        tags,
        termination_protection: stack.termination_protection,
        // It takes no more than the live one.
        size: template::Size::default(),
    }
}

/// The live stack without what has drifted, and with other names for what is to be made anew. None when its text is not as it
/// was read.
pub(super) fn without(stack: &Stack, drifts: &[Drift]) -> Option<Template> {
    let mut text: Value = serde_json::from_str(&stack.template).ok()?;
    for drift in drifts {
        let id = drift.id.as_str();
        let resources = text.get_mut("Resources")?.as_object_mut()?;
        match drift.cure {
            Cure::Retake => {
                resources.remove(id)?;
            }
            Cure::Retag => {
                let body = resources.get_mut(id)?.get_mut("Properties")?;
                body.as_object_mut()?.remove("Tags")?;
            }
            Cure::Renew(_) | Cure::NewIp(_) => {
                let new = next_name(id);
                let body = resources.remove(id)?;
                resources.insert(new.clone(), body);
                rename(&mut text, id, &new);
                let outputs = text.get_mut("Outputs").and_then(Value::as_object_mut);
                if let Some((outputs, output)) =
                    outputs.and_then(|outputs| outputs.remove(id).map(|output| (outputs, output)))
                {
                    outputs.insert(new, output);
                }
            }
            Cure::Follows | Cure::Passes | Cure::ByHand(_) => {}
        }
    }
    Some(as_it_is(stack, text.to_string()))
}

/// `NATGateway1` → `NATGateway1Anew1` → `NATGateway1Anew2`.
fn next_name(id: &str) -> String {
    let (base, count) = match id.rsplit_once("Anew") {
        Some((base, count)) => (base, count.parse().unwrap_or(0u32)),
        None => (id, 0),
    };
    format!("{base}Anew{}", count.saturating_add(1))
}

/// Lets every reference to a resource refer to its new name.
fn rename(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                match (key.as_str(), &mut *field) {
                    ("Ref" | "DependsOn", Value::String(name)) if name == old => {
                        *name = new.to_owned()
                    }
                    ("Fn::GetAtt", Value::String(path)) => {
                        let of_old = path.strip_prefix(old).filter(|rest| rest.starts_with('.'));
                        if let Some(attribute) = of_old {
                            *path = format!("{new}{attribute}");
                        }
                    }
                    ("Fn::GetAtt" | "DependsOn", Value::Array(names)) => {
                        let first = if key == "Fn::GetAtt" { 1 } else { names.len() };
                        for name in names.iter_mut().take(first).filter(|name| *name == old) {
                            *name = json!(new);
                        }
                    }
                    _ => rename(field, old, new),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, old, new)),
        _ => {}
    }
}
