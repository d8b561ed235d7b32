package text

// tray holds the words of the icon near the clock and its menu.
var tray = map[Key]words{
	"tray.idle":        {"Дайын", "Готово к работе", "Ready"},
	"tray.waiting":     {"Қолыңызды күткен сұраулар: {n}", "{n} запрос ждёт подписи|{n} запроса ждут подписи|{n} запросов ждут подписи", "{n} request waits for you|{n} requests wait for you"},
	"tray.signing":     {"Қол қойылуда", "Идёт подписание", "Signing"},
	"tray.delivering":  {"Жіберілуде: {n}", "Отправляется {n} документ|Отправляются {n} документа|Отправляются {n} документов", "Sending {n} document|Sending {n} documents"},
	"tray.attention":   {"Назар аударуды қажет ететін құжаттар: {n}", "{n} документ не доставлен|{n} документа не доставлены|{n} документов не доставлены", "{n} document was not delivered|{n} documents were not delivered"},
	"tray.open_prompt": {"Күтіп тұрған сұрауды ашу", "Открыть запрос на подпись", "Open the waiting request"},
	"tray.tokens":      {"Токендер мен сертификаттар", "Токены и сертификаты", "Tokens and certificates"},
	"tray.outbox":      {"Жіберілетін құжаттар", "Отправка документов", "Outbox"},
	"tray.about":       {"Tanba туралы", "О программе Tanba", "About Tanba"},
	"tray.quit":        {"Шығу", "Выход", "Quit"},
}
