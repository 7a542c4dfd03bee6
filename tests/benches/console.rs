//! Commands that come in and answers that go out, one JSON object a line: the language of the go-ethereum peer.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

/// What a command gives: fields of its answer, or why it failed.
pub(crate) type Answer = Result<Value, String>;

/// Tells what this process is, before any command.
pub(crate) fn ready(mut fields: Value) {
    fields["event"] = json!("ready");
    say(&fields);
}

/// Runs commands in order until the input ends or says `quit`.
pub(crate) fn run(mut answer: impl FnMut(&str, &Value) -> Answer) -> Answer {
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let command: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let name = command["cmd"].as_str().unwrap_or_default();
        if name == "quit" {
            break;
        }
        let mut done = json!({"event": "done", "cmd": name, "ok": true});
        match answer(name, &command) {
            Ok(Value::Object(fields)) => {
                for (name, value) in fields {
                    done[name] = value;
                }
            }
            Ok(_) => {}
            Err(error) => {
                done["ok"] = json!(false);
                done["error"] = json!(error);
            }
        }
        say(&done);
    }
    Ok(Value::Null)
}

fn say(line: &Value) {
    // Whoever does not read it has gone, and then so does this process.
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
