//! Those who watch a run: bars on a terminal, plain lines elsewhere, JSON lines for programs.
//!
//! The engine's observers must not block, but a terminal or a pipe may. So events go through a
//! queue to a thread of their own, and that thread alone writes.

mod bars;
mod json;
mod lines;
mod pace;
mod wording;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use reseed_core::event::{Event, Observer};

pub(crate) use wording::Roles;

use crate::args::TalkArgs;
use crate::out;

/// One way of showing a run. Called in order, from one thread.
trait View: Send {
    /// Something happened at this time.
    fn show(&mut self, event: &Event, at: Instant);
    /// The program itself has something to say to people.
    fn say(&mut self, _line: &str) {}
    /// Nothing will come any more.
    fn end(&mut self) {}
}

enum News {
    Event(Box<Event>, Instant),
    Said(String),
    End,
}

/// Everyone who watches a run.
pub(crate) struct Watch {
    sender: Sender<News>,
    thread: JoinHandle<()>,
}

/// The engine's end of the queue.
#[derive(Clone)]
pub(crate) struct Speaker(Sender<News>);

impl Watch {
    /// Begins to watch in the way that was asked for.
    pub(crate) fn begin(talk: TalkArgs, roles: Roles) -> Self {
        let mut views: Vec<Box<dyn View>> = Vec::new();
        if talk.json {
            views.push(Box::new(json::JsonLines::new(std::io::stdout())));
        }
        match out::has_terminal() && !talk.quiet {
            true => views.push(Box::new(bars::Bars::new(talk, roles))),
            false => views.push(Box::new(lines::Lines::new(std::io::stderr(), talk, roles))),
        }
        let (sender, receiver) = channel();
        Self { sender, thread: std::thread::spawn(move || show(&receiver, views)) }
    }

    /// What the engine talks to.
    pub(crate) fn speaker(&self) -> Speaker {
        Speaker(self.sender.clone())
    }

    /// Waits until everything has been shown.
    pub(crate) fn end(self) {
        // Both fail only if the thread is gone, and then there is nothing to wait for.
        let _ = self.sender.send(News::End);
        let _ = self.thread.join();
    }
}

impl Speaker {
    /// Says something to people.
    pub(crate) fn say(&self, line: &str) {
        let _ = self.0.send(News::Said(line.to_owned()));
    }
}

impl Observer for Speaker {
    fn on(&self, event: &Event) {
        let _ = self.0.send(News::Event(Box::new(event.clone()), Instant::now()));
    }
}

fn show(receiver: &Receiver<News>, mut views: Vec<Box<dyn View>>) {
    for news in receiver {
        match news {
            News::Event(event, at) => views.iter_mut().for_each(|view| view.show(&event, at)),
            News::Said(line) => views.iter_mut().for_each(|view| view.say(&line)),
            News::End => break,
        }
    }
    views.iter_mut().for_each(|view| view.end());
}
