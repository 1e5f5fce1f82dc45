// A TypeDoc plugin: a guide is named by its first heading, as everywhere else, and not by its file.
import { Converter } from "typedoc"

export const load = (app) =>
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const [first] = document.content
    const heading = /^# (.+)\n/.exec(first?.text ?? "")
    if (heading !== null) document.name = heading[1]
  })
