//! A real browser: Debian's Chromium, driven through chromedriver's WebDriver protocol.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::testbed;

/// A Chromium process. Dropping this value ends it.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

fn chromedriver() -> String {
    std::env::var("KSEC_CHROMEDRIVER").unwrap_or_else(|_| testbed::installed("chromedriver"))
}

/// Returns the script of axe-core.
fn axe() -> &'static str {
    static AXE: OnceLock<String> = OnceLock::new();
    AXE.get_or_init(|| {
        let path = std::env::var("KSEC_AXE").unwrap_or_else(|_| testbed::installed("axe"));
        std::fs::read_to_string(path).unwrap()
    })
}

impl Browser {
    pub fn open() -> Self {
        let mut driver = Command::new(chromedriver())
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .expect("chromedriver tells its port");
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,1600",
        ];
        let options = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
        });
        let made = browser.ask(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": options } }),
        );
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    /// Sends one request and returns the value of the response. chromedriver speaks HTTP/1.1 only and keeps its connections open.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let body = match method {
            "POST" => body.to_string(),
            _ => String::new(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let header = line.trim_end().to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path} {body}: {value}");
        value
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}/{command}", self.session), body)
    }

    pub fn go(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Returns the value of a JavaScript expression on the page.
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Same as [`Self::value`], for a text.
    pub fn text(&self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().map_or(value.to_string(), str::to_owned)
    }

    /// Presses keys one after the other, with the current focus. `\u{e004}` is Tab, `\u{e007}` Enter, `\u{e00c}` Escape.
    pub fn keys(&self, text: &str) {
        let press = |key: char| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        };
        let actions: Vec<Value> = text.chars().flat_map(press).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("actions", &json!({ "actions": [keyboard] }));
    }

    /// Returns the accessibility violations that axe-core finds on the page, one line per rule and element.
    pub fn inaccessible(&self) -> Vec<String> {
        self.post("execute/sync", &json!({ "script": axe(), "args": [] }));
        let script = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then(found => \
                      done(found.violations.flatMap(rule => rule.nodes.map(node => rule.id + ': ' + rule.help + ': ' + \
                      node.html.slice(0, 200)))), error => done(['axe failed: ' + error]))";
        let found = self.post("execute/async", &json!({ "script": script, "args": [] }));
        let lines = found.as_array().unwrap().iter();
        lines
            .map(|line| line.as_str().unwrap().to_owned())
            .collect()
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        self.post(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    /// Sets the user's preference for a dark page.
    pub fn dark(&self, on: bool) {
        let scheme = if on { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
    }

    /// Sets the size of the window.
    pub fn screen(&self, (width, height): (u32, u32)) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
    }

    pub fn phone(&self) {
        let screen = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
    }

    fn log(&self, kind: &str) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": kind }));
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the requests of the page since the last call, to any address.
    pub fn requests(&self) -> Vec<String> {
        let messages = self.log("performance").into_iter();
        let url = |text: String| {
            let message: Value = serde_json::from_str(&text).unwrap();
            let message = &message["message"];
            let sent = message["method"] == "Network.requestWillBeSent";
            sent.then(|| {
                message["params"]["request"]["url"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
        };
        messages.filter_map(url).collect()
    }

    /// Returns the browser's error messages since the last call: script errors, and violations of the content security policy.
    pub fn complaints(&self) -> Vec<String> {
        self.log("browser")
    }

    /// Saves a picture of the whole page into the directory that KSEC_SCREENSHOTS names.
    pub fn shot(&self, name: &str) {
        let Some(directory) = std::env::var_os("KSEC_SCREENSHOTS") else {
            return;
        };
        let parameters = json!({ "captureBeyondViewport": true, "format": "png" });
        let command = json!({ "cmd": "Page.captureScreenshot", "params": parameters });
        let made = self.post("goog/cdp/execute", &command);
        let picture = BASE64_STANDARD
            .decode(made["data"].as_str().unwrap())
            .unwrap();
        let path = std::path::Path::new(&directory).join(format!("{name}.png"));
        std::fs::write(path, picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.ask("DELETE", &self.session, &Value::Null);
        }
        // chromedriver ends the processes that it has started.
        let pid = self.driver.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.driver.wait();
    }
}
