use aws_config::BehaviorVersion;
use aws_sdk_ec2::config::{Credentials, Region};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::lease::{Election as _, NoElection};

const UNAVAILABLE: &str =
    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Starts an EC2 that answers every request with 503 and signals each request.
async fn unavailable() -> (aws_sdk_ec2::Client, mpsc::UnboundedReceiver<()>) {
    answering(UNAVAILABLE, 0).await
}

/// Starts an EC2 that answers every request with this head and as many MiB of blanks, and signals each request.
async fn answering(
    head: &'static str,
    mebibytes: usize,
) -> (aws_sdk_ec2::Client, mpsc::UnboundedReceiver<()>) {
    let (url, requests) = server(head, mebibytes).await;
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .endpoint_url(url)
        .build();
    (aws_sdk_ec2::Client::from_conf(config), requests)
}

/// Starts a server as for [`answering`]. Returns its URL.
async fn server(head: &'static str, mebibytes: usize) -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16_384];
            if connection
                .read(&mut request)
                .await
                .is_ok_and(|bytes| bytes > 0)
            {
                let _ = connection.write_all(head.as_bytes()).await;
                let more = vec![b' '; 1 << 20];
                for _ in 0..mebibytes {
                    if connection.write_all(&more).await.is_err() {
                        break;
                    }
                }
                let _ = told.send(());
            }
        }
    });
    (url, requests)
}

/// Returns a response with this body and, in its head, this length.
fn response(status: &str, body: &str, length: usize) -> &'static str {
    let kind = match body.starts_with("<html>") {
        true => "text/html",
        false => "text/xml",
    };
    let head = format!("connection: close\r\ncontent-type: {kind}");
    let text = format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    Box::leak(text.into_boxed_str())
}

/// Reads from an EC2 that answers as for [`answering`]. Returns the failure, and the reports of the call.
async fn failure(head: &'static str, mebibytes: usize) -> (Failure, Vec<CallReport>) {
    let (ec2, _requests) = answering(head, mebibytes).await;
    let (calls, reports) = recorder();
    let answer = calls.read(Service::Ec2, "DescribeVpcs", |gate| {
        ec2.describe_vpcs().customize().interceptor(gate).send()
    });
    let failure = answer.await.expect_err(head);
    let reports = reports.lock().unwrap().clone();
    (failure, reports)
}

fn cloudformation(url: String) -> aws_sdk_cloudformation::Client {
    let config = aws_sdk_cloudformation::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .endpoint_url(url)
        .build();
    aws_sdk_cloudformation::Client::from_conf(config)
}

fn recorder() -> (Calls, Arc<Mutex<Vec<CallReport>>>) {
    let reports: Arc<Mutex<Vec<CallReport>>> = Arc::default();
    let into = Arc::clone(&reports);
    (
        Calls::new(
            Arc::new(move |report: &CallReport| into.lock().unwrap().push(report.clone())),
            None,
            "eu-west-1".to_owned(),
        ),
        reports,
    )
}

#[tokio::test]
async fn the_end_of_the_term_ends_the_retries() {
    let (ec2, mut requests) = unavailable().await;
    let (calls, reports) = recorder();
    let mut election = NoElection::new();
    let term = election.campaign().await;
    let call = calls.write(&term, Service::Ec2, "DeleteRoute", |gate| {
        ec2.delete_route()
            .route_table_id("rtb-1")
            .customize()
            .interceptor(gate)
            .send()
    });
    let ender = async {
        requests.recv().await.unwrap();
        election.campaign().await
    };
    let (failure, _next) = tokio::join!(call, ender);
    assert_eq!(failure.unwrap_err().kind, Kind::TermOver);
    let reports = reports.lock().unwrap();
    assert_eq!(
        (reports.len(), reports[0].attempts, reports[0].code.as_str()),
        (1, 1, "TermOver")
    );
    assert!(
        requests.try_recv().is_err(),
        "nothing is sent after the term"
    );
}

#[tokio::test]
async fn a_term_that_is_over_sends_nothing() {
    let (ec2, mut requests) = unavailable().await;
    let (calls, reports) = recorder();
    let mut election = NoElection::new();
    let term = election.campaign().await;
    let _next = election.campaign().await;
    let gate = Gate::new(Some(term.guard()), Span::none());
    // Both the gate alone and a call with a term send nothing.
    let alone = ec2
        .delete_route()
        .route_table_id("rtb-1")
        .customize()
        .interceptor(gate.clone())
        .send()
        .await;
    assert!(alone.is_err() && gate.closed());
    let call = calls.write(&term, Service::Ec2, "DeleteRoute", |gate| {
        ec2.delete_route()
            .route_table_id("rtb-1")
            .customize()
            .interceptor(gate)
            .send()
    });
    assert!(!call.await.unwrap_err().may_have_happened());
    assert_eq!(reports.lock().unwrap()[0].attempts, 0);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn reads_are_retried_and_each_attempt_counts() {
    let (failure, reports) = failure(UNAVAILABLE, 0).await;
    assert_eq!(failure.kind, Kind::Server);
    assert_eq!(
        (reports[0].service, reports[0].action, reports[0].attempts),
        ("ec2", "DescribeVpcs", 3)
    );
}

#[tokio::test]
async fn an_answer_without_end_is_not_held_and_one_of_somebody_else_is_told_apart() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>";
    let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<a>";
    for (head, mebibytes) in [(page, 0), (endless, 200)] {
        let (failure, _) = failure(head, mebibytes).await;
        assert_eq!(failure.kind, Kind::Unreadable, "{failure:?}");
        let told = crate::provider::ProviderError::from(failure).to_string();
        assert!(told.contains("AWS_ENDPOINT_URL"), "{told}");
    }
}

/// A page of a proxy in place of AWS's answer says nothing about whether the request reached AWS.
#[tokio::test]
async fn a_mutating_call_that_a_page_answers_may_have_happened() {
    let page = "<html><body>Access to this site is restricted</body></html>";
    let mut election = NoElection::new();
    let term = election.campaign().await;
    for (status, code) in [("200 OK", "HTTP200"), ("403 Forbidden", "HTTP403")] {
        let (url, _requests) = server(response(status, page, page.len()), 0).await;
        let cloudformation = cloudformation(url);
        let (calls, _reports) = recorder();
        let create = calls.write(&term, Service::CloudFormation, "CreateStack", |gate| {
            let request = cloudformation.create_stack().stack_name("egress");
            request.customize().interceptor(gate).send()
        });
        let created = create.await.map(drop);
        let execute = calls.write(&term, Service::CloudFormation, "ExecuteChangeSet", |gate| {
            let request = cloudformation
                .execute_change_set()
                .change_set_name("egress-1");
            request.customize().interceptor(gate).send()
        });
        let executed = execute.await.map(drop);
        let delete = calls.write(&term, Service::CloudFormation, "DeleteStack", |gate| {
            let request = cloudformation.delete_stack().stack_name("egress");
            request.customize().interceptor(gate).send()
        });
        let deleted = delete.await.map(drop);
        for answer in [created, executed, deleted] {
            let failure = answer.expect_err("no answer of AWS");
            assert_eq!((failure.kind, &*failure.code), (Kind::Unreadable, code));
            assert!(failure.may_have_happened(), "{failure:?}");
            let told = crate::provider::ProviderError::from(failure).to_string();
            assert!(
                told.contains(code) && told.contains("AWS_ENDPOINT_URL"),
                "{told}"
            );
        }
    }
}

/// Whatever answers in AWS's place is an error with a text, and no redirect takes a signed request elsewhere.
#[tokio::test]
async fn odd_answers_are_errors() {
    let (elsewhere, mut redirected) = server(response("200 OK", "", 0), 0).await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
    let deep = "<a>".repeat(50_000);
    let answers = [
        ("a redirect", &*Box::leak(redirect.into_boxed_str())),
        (
            "a body that is cut",
            response("200 OK", "<DescribeVpcsResponse>", 4_000),
        ),
        (
            "a refusal that is cut",
            response("400 Bad Request", "<Response><Err", 4_000),
        ),
        ("deep elements", response("200 OK", &deep, deep.len())),
        (
            "a deep refusal",
            response("400 Bad Request", &deep, deep.len()),
        ),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"),
        ("no status", response("999 What", "", 0)),
    ];
    for (what, answer) in answers {
        let (failure, _) = failure(answer, 0).await;
        let told = crate::provider::ProviderError::from(failure).to_string();
        assert!((20..2_000).contains(&told.len()), "{what}: {told}");
    }
    assert!(redirected.try_recv().is_err(), "no redirect is followed");
}

/// The code of an error is the label of a metric.
#[tokio::test]
async fn a_code_that_is_no_code_becomes_no_label() {
    let body = "<Response><Errors><Error><Code>evil&quot;} 1&#10;fake{x=&quot;</Code><Message>no</Message></Error></Errors></Response>";
    let refusal = response("400 Bad Request", body, body.len());
    let (failure, reports) = failure(refusal, 0).await;
    for code in [&failure.code, &reports[0].code] {
        assert!(
            code.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{code}"
        );
    }
}
