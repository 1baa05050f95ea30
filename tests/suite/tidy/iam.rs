//! The CloudFormation template of the roles says what the policies beside it say.

use serde_json::{Map, Value, json};

use super::read;

/// What CloudFormation makes of a template's value: its functions evaluated, as far as this template uses them.
struct Evaluation {
    template: Value,
    given: Value,
}

impl Evaluation {
    fn of(given: Value) -> Self {
        let template = serde_saphyr::from_str(&read("deploy/iam.cloudformation.yaml")).unwrap();
        Self { template, given }
    }

    /// A parameter, or what AWS knows.
    fn named(&self, name: &str) -> Value {
        match name {
            "AWS::Partition" => json!("aws"),
            "AWS::AccountId" => json!("ACCOUNT-ID"),
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
                assert!(argument[chosen].is_object(), "{argument}");
                self.value(&argument[chosen])
            }
            "Fn::Sub" => {
                let mut text = String::new();
                let mut rest = argument.as_str().unwrap();
                while let Some((before, after)) = rest.split_once("${") {
                    let (name, more) = after.split_once('}').unwrap();
                    text += before;
                    text += self.named(name).as_str().unwrap();
                    rest = more;
                }
                Value::from(text + rest)
            }
            "Fn::GetAtt" => {
                assert_eq!(argument, &json!(["CloudFormationRole", "Arn"]));
                json!("arn:aws:iam::ACCOUNT-ID:role/CFN-SERVICE-ROLE")
            }
            other => panic!("{other}"),
        }
    }

    /// A role's properties; None when its condition does not hold.
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

/// A list of one is the same as what is in it.
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
    let bucket = "TEMPLATE-BUCKET";
    let two = Evaluation::of(json!({ "TemplateBucket": bucket }));
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

    let one = Evaluation::of(json!({ "TemplateBucket": bucket, "SeparateRole": "false" }));
    assert_eq!(
        document(&one.role("ControllerRole").unwrap()),
        plain(&policy("iam-policy"))
    );
    assert!(one.role("CloudFormationRole").is_none());

    let without = Evaluation::of(json!({}));
    let mut expected = policy("iam-policy-with-cfn-role");
    let statements = expected["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Sid"] != "LargeTemplates");
    assert_eq!(
        document(&without.role("ControllerRole").unwrap()),
        plain(&expected)
    );
}

#[test]
fn only_the_chart_s_service_account_gets_the_role() {
    let issuer = "oidc.eks.eu-central-1.amazonaws.com/id/ABC";
    let irsa = Evaluation::of(json!({ "OidcProvider": issuer }));
    let trust = &irsa.role("ControllerRole").unwrap()["AssumeRolePolicyDocument"];
    let trust: Value = serde_json::from_str(trust.as_str().unwrap()).unwrap();
    let who = &trust["Statement"][0]["Condition"]["StringEquals"];
    let account = "system:serviceaccount:kube-system:kube-static-egress-controller";
    assert_eq!(who[format!("{issuer}:sub")], account);
    assert_eq!(who[format!("{issuer}:aud")], "sts.amazonaws.com");
    let pod_identity = Evaluation::of(json!({}));
    let trust =
        &pod_identity.role("ControllerRole").unwrap()["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(trust["Principal"]["Service"], "pods.eks.amazonaws.com");
    let tags = &trust["Condition"]["StringEquals"];
    assert_eq!(tags["aws:RequestTag/kubernetes-namespace"], "kube-system");
    assert_eq!(
        tags["aws:RequestTag/kubernetes-service-account"],
        "kube-static-egress-controller"
    );
    // As deploy/manifests.yaml has it.
    assert!(read("deploy/manifests.yaml").contains("kind: ServiceAccount\nmetadata:\n  name: kube-static-egress-controller\n  namespace: kube-system\n"));
}
