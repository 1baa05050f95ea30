//! The CloudFormation template of the roles matches the policies next to it.

use std::collections::BTreeSet;

use kube_static_egress_controller::model::base::settings::stack_name;
use serde_json::{Map, Value, json};

use super::{none, read};

/// Evaluates the template as CloudFormation does, as far as this template uses its functions.
struct Evaluation {
    template: Value,
    given: Value,
}

impl Evaluation {
    fn of(given: Value) -> Self {
        let template = serde_saphyr::from_str(&read("deploy/iam.cloudformation.yaml")).unwrap();
        Self { template, given }
    }

    /// Returns the value of a parameter or pseudo parameter.
    fn named(&self, name: &str) -> Value {
        match name {
            "AWS::Partition" => json!("aws"),
            "AWS::AccountId" => json!("ACCOUNT-ID"),
            "AWS::Region" => json!("REGION"),
            "AWS::NoValue" => Value::Null,
            _ if self.given[name].is_string() => self.given[name].clone(),
            _ => {
                let parameter = &self.template["Parameters"][name];
                assert!(parameter.is_object(), "no parameter {name}");
                parameter["Default"].clone()
            }
        }
    }

    fn holds(&self, condition: &Value) -> bool {
        if let Some(name) = condition.as_str() {
            return self.holds(&self.template["Conditions"][name]);
        }
        match condition.as_object().unwrap().iter().next().unwrap() {
            (key, inner) if key == "Fn::Not" => !self.holds(&inner[0]),
            (key, sides) if key == "Fn::Equals" => self.value(&sides[0]) == self.value(&sides[1]),
            other => panic!("{other:?}"),
        }
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item));
                items.filter(|item| !item.is_null()).collect()
            }
            Value::Object(map) => match (map.len(), map.iter().next()) {
                (1, Some((name, argument))) if name == "Ref" || name.starts_with("Fn::") => {
                    self.call(name, argument)
                }
                _ => Value::from_iter(
                    map.iter()
                        .map(|(key, value)| (key.clone(), self.value(value))),
                ),
            },
            other => other.clone(),
        }
    }

    fn call(&self, name: &str, argument: &Value) -> Value {
        match name {
            "Ref" => self.named(argument.as_str().unwrap()),
            "Fn::If" => {
                let chosen = if self.holds(&argument[0]) { 1 } else { 2 };
                assert!(!argument[chosen].is_null(), "{argument}");
                self.value(&argument[chosen])
            }
            "Fn::Sub" => {
                let (text, own) = match argument {
                    Value::Array(both) => (&both[0], &both[1]),
                    text => (text, &Value::Null),
                };
                let mut evaluated = String::new();
                let mut rest = text.as_str().unwrap();
                while let Some((before, after)) = rest.split_once("${") {
                    let (name, more) = after.split_once('}').unwrap();
                    let value = match &own[name] {
                        Value::Null => self.named(name),
                        given => self.value(given),
                    };
                    evaluated += before;
                    evaluated += value.as_str().unwrap();
                    rest = more;
                }
                Value::from(evaluated + rest)
            }
            "Fn::GetAtt" => {
                assert_eq!(argument, &json!(["CloudFormationRole", "Arn"]));
                json!("arn:aws:iam::ACCOUNT-ID:role/CFN-SERVICE-ROLE")
            }
            other => panic!("{other}"),
        }
    }

    /// Returns a role's properties; None if its condition is false.
    fn role(&self, name: &str) -> Option<Map<String, Value>> {
        let role = &self.template["Resources"][name];
        assert_eq!(role["Type"], "AWS::IAM::Role");
        let made = role["Condition"].is_null() || self.holds(&role["Condition"]);
        made.then(|| self.value(&role["Properties"]).as_object().unwrap().clone())
    }
}

fn policy(name: &str) -> Value {
    serde_json::from_str(&read(format!("deploy/{name}.json"))).unwrap()
}

/// Treats a list with one element like the element.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.len() == 1 => plain(&items[0]),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(map) => {
            Value::from_iter(map.iter().map(|(key, value)| (key.clone(), plain(value))))
        }
        other => other.clone(),
    }
}

#[test]
fn the_template_makes_the_roles_of_the_policies() {
    let given = |more: Value| {
        let mut all = json!({ "TemplateBucket": "TEMPLATE-BUCKET", "StackName": "STACK-NAME" });
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Evaluation::of(all)
    };
    let two = given(json!({}));
    let controller = two.role("ControllerRole").unwrap();
    let document = |role: &Map<String, Value>| plain(&role["Policies"][0]["PolicyDocument"]);
    assert_eq!(
        document(&controller),
        plain(&policy("iam-policy-with-cfn-role"))
    );
    let service = two.role("CloudFormationRole").unwrap();
    assert_eq!(document(&service), plain(&policy("cfn-service-role")));
    let trust = plain(&service["AssumeRolePolicyDocument"]);
    assert_eq!(trust, plain(&policy("cfn-service-role-trust")));

    let one = given(json!({ "SeparateRole": "false" }));
    assert_eq!(
        document(&one.role("ControllerRole").unwrap()),
        plain(&policy("iam-policy"))
    );
    assert!(one.role("CloudFormationRole").is_none());

    let without = given(json!({ "TemplateBucket": "" }));
    let mut expected = policy("iam-policy-with-cfn-role");
    let statements = expected["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Sid"] != "LargeTemplates");
    assert_eq!(
        document(&without.role("ControllerRole").unwrap()),
        plain(&expected)
    );
}

#[test]
fn the_rights_are_for_the_stack_of_the_cluster_id() {
    let roles = Evaluation::of(json!({ "ClusterId": "prod-1" }));
    let name = stack_name("prod-1");
    let texts = ["ControllerRole", "CloudFormationRole"]
        .map(|role| json!(roles.role(role).unwrap()).to_string());
    let arn = format!("arn:aws:cloudformation:REGION:ACCOUNT-ID:stack/{name}/*");
    for text in &texts {
        assert!(text.contains(&format!("\"{arn}\"")), "{text}");
        assert!(
            !text.contains(":stack/*") && !text.contains("nat*"),
            "{text}"
        );
    }
    assert!(
        texts[1].contains(&format!(
            "\"aws:ResourceTag/aws:cloudformation:stack-name\":\"{name}\""
        )),
        "{}",
        texts[1]
    );
    // The template refuses ids from which it could not derive the stack's name.
    let pattern = &roles.template["Parameters"]["ClusterId"]["AllowedPattern"];
    assert_eq!(pattern, "[-A-Za-z0-9]{0,110}");
    let longest = "a".repeat(110);
    let made = stack_name(&longest);
    assert_eq!(made, format!("egress-static-nat-{longest}"));
}

/// Returns the permissions of CloudFormation's handlers from the resource schemas, without those that have a documented exception.
fn handlers() -> BTreeSet<String> {
    let known: Value = serde_json::from_str(&read("tests/standin/handlers.json")).unwrap();
    let excepted = known["not_granted"].as_object().unwrap();
    let mut all = BTreeSet::new();
    for (kind, handlers) in known["types"].as_object().unwrap() {
        assert!(
            handlers["commit"].as_str().unwrap().len() == 40,
            "{kind} has no source"
        );
        for list in handlers
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_array)
        {
            all.extend(
                list.iter()
                    .map(|right| right.as_str().unwrap().replace("EC2:", "ec2:")),
            );
        }
    }
    for (right, reason) in excepted {
        assert!(all.remove(right), "{right} is excepted for nothing");
        assert!(!reason.as_str().unwrap().is_empty(), "{right}");
    }
    all
}

#[test]
fn the_policies_have_every_right_of_the_handlers() {
    let needed = handlers();
    assert!(needed.len() > 20, "{needed:?}");
    for name in ["cfn-service-role", "iam-policy"] {
        let policy = policy(name);
        let statements = policy["Statement"].as_array().unwrap().iter();
        let given: BTreeSet<&str> = statements
            .flat_map(|statement| statement["Action"].as_array().unwrap())
            .filter_map(Value::as_str)
            .collect();
        let missing: Vec<String> = needed
            .iter()
            .filter(|right| !given.contains(right.as_str()))
            .map(|right| format!("{name} lacks {right}"))
            .collect();
        none("CloudFormation's handlers have their rights", &missing);
    }
    // All permissions of the program's own templates are known.
    let known: Value = serde_json::from_str(&read("tests/standin/handlers.json")).unwrap();
    let template = read("src/model/plan/diff.rs");
    let types: BTreeSet<&str> = template
        .split("\"AWS::EC2::")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(types.len() >= 5, "{types:?}");
    for kind in types {
        assert!(
            known["types"][format!("AWS::EC2::{kind}")].is_object(),
            "{kind}"
        );
    }
}

/// IAM counts characters without white space; a managed policy has at most 6,144.
#[test]
fn each_policy_fits_into_a_managed_one() {
    for name in ["iam-policy", "iam-policy-with-cfn-role", "cfn-service-role"] {
        let length = policy(name).to_string().len();
        assert!(length < 6_144, "{name}: {length}");
    }
}

#[test]
fn only_the_chart_s_service_account_gets_the_role() {
    let issuer = "oidc.eks.eu-central-1.amazonaws.com/id/ABC";
    let irsa = Evaluation::of(json!({ "OidcProvider": issuer }));
    let trust = &irsa.role("ControllerRole").unwrap()["AssumeRolePolicyDocument"];
    let trust: Value = serde_json::from_str(trust.as_str().unwrap()).unwrap();
    let who = &trust["Statement"][0]["Condition"]["StringEquals"];
    let account = "system:serviceaccount:static-egress:kube-static-egress-controller";
    assert_eq!(who[format!("{issuer}:sub")], account);
    assert_eq!(who[format!("{issuer}:aud")], "sts.amazonaws.com");
    let pod_identity = Evaluation::of(json!({}));
    let trust =
        &pod_identity.role("ControllerRole").unwrap()["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(trust["Principal"]["Service"], "pods.eks.amazonaws.com");
    let tags = &trust["Condition"]["StringEquals"];
    assert_eq!(tags["aws:RequestTag/kubernetes-namespace"], "static-egress");
    assert_eq!(
        tags["aws:RequestTag/kubernetes-service-account"],
        "kube-static-egress-controller"
    );
    // The service account in deploy/manifests.yaml.
    assert!(read("deploy/manifests.yaml").contains("kind: ServiceAccount\nmetadata:\n  name: kube-static-egress-controller\n  namespace: static-egress\n"));
}

/// Returns the parameters of each command of a page that creates the roles.
fn overrides(page: &str) -> Vec<Map<String, Value>> {
    let joined = page.replace("\\\n", " ");
    let commands = joined.split("--parameter-overrides").skip(1);
    let given = |command: &str| {
        let pairs = command
            .split_whitespace()
            .map_while(|word| word.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect()
    };
    commands.map(given).collect()
}

/// A reader who follows a page uses each role that the page's command creates.
#[test]
fn the_printed_installations_use_the_roles_that_they_create() {
    for page in ["README.md", "deploy/docs/install-eks.md"] {
        let text = read(page);
        let commands = overrides(&text);
        assert_eq!(commands.len(), 1, "{page}");
        let roles = Evaluation::of(json!(commands[0]));
        for name in commands[0].keys() {
            assert!(
                roles.template["Parameters"][name].is_object(),
                "{page}: {name}"
            );
        }
        let mut wanted = vec!["`ControllerRoleArn`", "example-values.yaml"];
        if roles.role("CloudFormationRole").is_some() {
            wanted.extend(["`CloudFormationRoleArn`", "`aws.cfnRoleArn`"]);
        }
        let trust = roles.role("ControllerRole").unwrap()["AssumeRolePolicyDocument"].to_string();
        wanted.push(match trust.contains("sts:AssumeRoleWithWebIdentity") {
            true => "annotation",
            false => "aws eks create-pod-identity-association",
        });
        let missing: Vec<&&str> = wanted
            .iter()
            .filter(|part| !text.contains(**part))
            .collect();
        assert!(missing.is_empty(), "{page} does not name {missing:?}");
    }
    let values = read("deploy/example-values.yaml");
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let role = values["aws"]["cfnRoleArn"].as_str().unwrap_or_default();
    assert!(
        role.starts_with("arn:aws:iam::123456789012:role/"),
        "{role}"
    );
}
