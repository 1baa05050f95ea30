//! Renders and installs the chart with Helm.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The chart's path relative to the root of the repository, where Helm runs.
pub const CHART: &str = "charts/kube-static-egress-controller";

/// Returns the path of a tool from the variable that tests/run sets.
pub fn tool(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run tests/run, or set it from what tests/testbed/install prints"
        )
    })
}

/// Runs Helm. Returns its output, or its error.
pub fn run(arguments: &[&str]) -> Result<String, String> {
    let helm = tool("KSEC_HELM");
    let output = Command::new(&helm)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{helm}: {error}"));
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Renders the chart with the example values and these, as release `kube-static-egress-controller` in `static-egress`.
pub fn render(values: &Value) -> Result<Vec<Value>, String> {
    let file = crate::testbed::directory("values").join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let rendered = run(&[
        "template",
        "kube-static-egress-controller",
        CHART,
        "--namespace=static-egress",
        "--values=deploy/example-values.yaml",
        "--values",
        file.to_str().unwrap(),
    ]);
    let _ = std::fs::remove_dir_all(file.parent().unwrap_or(Path::new("")));
    Ok(objects(&rendered?))
}

/// Parses the objects of a text with several YAML documents.
pub fn objects(text: &str) -> Vec<Value> {
    let text = format!("\n{text}");
    text.split("\n---\n")
        .skip(1)
        .map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{error}: {part}")))
        .collect()
}

/// Returns the only object of this kind whose name has this suffix.
pub fn find<'a>(objects: &'a [Value], kind: &str, suffix: &str) -> &'a Value {
    let named = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        object["kind"] == kind && name.ends_with(suffix)
    };
    let found: Vec<&Value> = objects.iter().filter(named).collect();
    match found.as_slice() {
        [object] => object,
        other => panic!("{kind} …{suffix}: {other:?}"),
    }
}
