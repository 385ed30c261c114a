//! `--on-change`: the tree's news become paths of the mount and go to the hook.
use crate::config::{self, OnChange};
use crate::hook::{Changed, Hook, Place, Program, Source, Target, Web};
use crate::tree::Tree;
use crate::util::clock::Clock;
use std::path::PathBuf;
use tokio::runtime;
use tokio::task::JoinHandle;

/// A hook that runs until this is dropped; a run under way is ended then.
#[derive(Debug)]
pub(super) struct Running(Option<JoinHandle<()>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Who is to be told, if anybody; an address that is none is an error, a command that cannot be run now may be put
/// right later.
pub(super) fn target(config: &config::Mount) -> anyhow::Result<Option<Target>> {
    Ok(match &config.on_change {
        None => None,
        Some(OnChange::Url(url)) => Some(Target::Web(Web::new(url)?)),
        Some(OnChange::Program { program, arguments }) => {
            let program = Program::new(program.clone(), arguments.clone());
            if let Some(trouble) = program.trouble() {
                log::warn!("on-change: {trouble}");
            }
            Some(Target::Program(program))
        }
    })
}

/// Starts the hook, if one is wanted.
pub(super) fn start(
    target: Option<Target>,
    config: &config::Mount,
    tree: &Tree,
    clock: Clock,
    runtime: &runtime::Handle,
) -> Running {
    let Some(target) = target else {
        return Running(None);
    };
    let place = Place {
        account: config.account.name.to_string(),
        mountpoint: config.mountpoint.clone(),
    };
    let news = TreeNews {
        tree: tree.clone(),
        mountpoint: config.mountpoint.clone(),
    };
    let hook = Hook::new(target, place, clock);
    Running(Some(runtime.spawn(hook.run(news))))
}

/// The tree's news as absolute paths.
struct TreeNews {
    tree: Tree,
    mountpoint: PathBuf,
}

impl Source for TreeNews {
    async fn came(&self) {
        self.tree.news_came().await;
    }

    async fn take(&self) -> Changed {
        let news = self.tree.take_news().await;
        let folders = news.folders.iter();
        Changed {
            // Joining nothing would end the path with a slash.
            folders: folders
                .map(|path| {
                    if path.as_os_str().is_empty() {
                        self.mountpoint.clone()
                    } else {
                        self.mountpoint.join(path)
                    }
                })
                .collect(),
            everything: news.everything,
        }
    }
}
