//! `status` and `check` while no replica leads: the status is outdated, and the subcommands say so.

use std::process::{Command, Output};

use serde_json::Value;

use crate::replica::PROGRAM;
use crate::stage::Stage;
use crate::wait;

fn ask(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let kubeconfig = format!("--kubeconfig={}", stage.dir.join("kubeconfig").display());
    let place = format!("--leader-elect-resource-namespace={}", stage.namespace);
    let mut command = Command::new(PROGRAM);
    let command = command
        .env_clear()
        .args(arguments)
        .args([kubeconfig, place]);
    let output: Output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn without_a_leader_status_and_check_say_since_when_and_exit_with_2() {
    let stage = Stage::open("leaderless").await;
    let start = || stage.replica("r1").start();
    stage
        .config_map("partners", &[("bank", "203.0.113.0/24")])
        .await;
    let mut replica = start();
    wait::until("it is routed", || {
        let (code, text) = ask(&stage, &["status"]);
        wait::check(code == 0 && text.contains("Routed"), || text)
    })
    .await;
    let (code, text) = ask(&stage, &["check", "203.0.113.7", "--output=json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &json["lease"]["held"]),
        (0, &Value::from(true)),
        "{text}"
    );
    let nobody = |why: &str| {
        for question in [&["status"][..], &["check", "203.0.113.7"]] {
            let (code, text) = ask(&stage, question);
            assert_eq!(code, 2, "{text}");
            assert!(
                text.starts_with("NOBODY LEADS since 20") && text.contains(why),
                "{text}"
            );
            let (code, text) = ask(&stage, &[question, &["--output=json"]].concat());
            let json: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (code, &json["lease"]["held"]),
                (2, &Value::from(false)),
                "{text}"
            );
            assert!(
                json["lease"]["since"].as_str().unwrap().starts_with("20"),
                "{text}"
            );
        }
    };
    let (status, _) = replica.terminate().await;
    assert!(status.success());
    nobody("the Lease was released");
    let mut replica = start();
    wait::until("it leads", || {
        let (code, text) = ask(&stage, &["status"]);
        wait::check(code == 0 && text.contains("epoch 2"), || text)
    })
    .await;
    replica.kill();
    wait::until("its Lease is over", || {
        let (code, text) = ask(&stage, &["status"]);
        wait::check(code == 2, || text)
    })
    .await;
    nobody("holds the Lease and does not renew it");
    stage.delete_lease().await;
    let (code, text) = ask(&stage, &["status"]);
    assert!(
        code == 2 && text.starts_with("NOBODY LEADS: there is no Lease"),
        "{text}"
    );
}

#[tokio::test]
async fn a_hangup_and_a_quit_give_the_lease_up() {
    let stage = Stage::open("hangup").await;
    for (signal, name) in [("-HUP", "SIGHUP: stopping"), ("-QUIT", "SIGQUIT: stopping")] {
        let mut replica = stage.replica("r1").flag("provider", "in-memory").start();
        wait::until("it leads", || replica.said(&["this replica leads"])).await;
        replica.signal(signal);
        wait::until("it ends", || {
            let alive = replica.is_alive();
            wait::check(!alive, || "it runs".to_owned())
        })
        .await;
        replica.said(&[name]).unwrap();
        let lease = stage.lease().await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "", "{lease}");
    }
}

#[test]
fn a_misspelt_variable_ends_the_program_and_a_service_link_does_not() {
    let run = |name: &str, value: &str| {
        let mut command = Command::new(PROGRAM);
        let name = format!("KUBE_STATIC_EGRESS_CONTROLLER_{name}");
        let output = command
            .env_clear()
            .env(name, value)
            .args(["status", "--manifests=x"])
            .output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    let told = run("DRYRUN", "true");
    assert!(
        told.contains("did you mean KUBE_STATIC_EGRESS_CONTROLLER_DRY_RUN?"),
        "{told}"
    );
    let told = run("PORT_8080_TCP_ADDR", "10.0.0.1");
    assert!(!told.contains("PORT_8080"), "{told}");
}
