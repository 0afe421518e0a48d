// How search ranks what it finds: Sphinx's own numbers; a task in a person's words comes before all else, and the very task before their page.
var Scorer = {
  objNameMatch: 11, objPartialMatch: 6, objPrio: {0: 15, 1: 5, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  score: ([page, title, anchor, description, score]) => score + (page === "tasks" ? (anchor ? 80 : 50) : 0),
};
