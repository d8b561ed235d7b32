package text

// desk holds the words of the signer's own page.
var desk = map[Key]words{
	"desk.tokens":           {"Токендер мен сертификаттар", "Токены и сертификаты", "Tokens and certificates"},
	"desk.outbox":           {"Жіберу", "Отправка", "Outbox"},
	"desk.about":            {"Бағдарлама туралы", "О программе", "About"},
	"desk.drivers":          {"Драйверлер", "Драйверы", "Drivers"},
	"desk.no_drivers":       {"Токен драйвері табылмады. Оны токен өндірушісінің сайтынан орнатыңыз.", "Драйверы токенов не найдены. Установите драйвер с сайта производителя токена.", "No token driver was found. Install the one from the token maker's site."},
	"desk.driver_failed":    {"Драйвер жауап бермеді. Оны қайта орнатып көріңіз.", "Драйвер не ответил. Попробуйте переустановить его.", "The driver did not answer. Try to install it again."},
	"desk.outbox_empty":     {"Жіберілмеген құжат жоқ.", "Всё отправлено.", "Everything has been sent."},
	"desk.rejection":        {"Бас тарту туралы хабар", "Сообщение об отказе", "A rejection"},
	"desk.notice":           {"Сұрау ашылды деген хабар", "Сообщение об открытии запроса", "A notice that the request was opened"},
	"desk.state.delivering": {"Жіберілуде", "Отправляется", "Being sent"},
	"desk.state.parked":     {"Сайтқа кіруіңізді күтеді", "Ждёт входа на сайт", "Waits for you to log in to the site"},
	"desk.state.dead":       {"Қабылданбады", "Не принято", "Not accepted"},
	"desk.retry":            {"Қазір жіберу", "Отправить сейчас", "Send now"},
	"desk.save":             {"Файлды сақтау", "Сохранить файл", "Save the file"},
	"desk.drop":             {"Жою", "Удалить", "Delete"},
	"desk.saved":            {"Сақталды: {path}", "Сохранено: {path}", "Saved: {path}"},
	"desk.failed":           {"Орындалмады. Қайталап көріңіз.", "Не получилось. Попробуйте ещё раз.", "It did not work. Try again."},
	"desk.version":          {"Нұсқасы", "Версия", "Version"},
	"desk.port":             {"Порт", "Порт", "Port"},
	"desk.log":              {"Журнал бумасы", "Папка журнала", "Log folder"},
	"desk.data":             {"Деректер бумасы", "Папка данных", "Data folder"},
	"desk.settings":         {"Баптаулар", "Настройки", "Settings"},
	"desk.sites":            {"Рұқсат берілген сайттар", "Разрешённые сайты", "Allowed sites"},
	"desk.licence":          {"Лицензия", "Лицензия", "Licence"},
}
